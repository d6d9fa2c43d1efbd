//! A linear layer whose weight gradient is never formed: the backward pass hands x and dy to whom they concern.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, Var, bail};

use crate::values::with_values;

/// Takes the two factors of weight gradients while a backward pass runs.
pub trait GradientSink: Send + Sync {
    /// dL/dW of weight number `parameter` is dyᵀ x: `x` is [tokens, in] and `dy` [tokens, out], lent for this call.
    fn receive(&self, parameter: usize, x: &Tensor, dy: &Tensor) -> Result<()>;
}

/// y = x Wᵀ + b. Training moves scalars of W in place; b is frozen.
pub struct Linear {
    /// [out, in]
    pub weight: Var,
    /// [out]
    pub bias: Tensor,
    /// The weight's number among those that a [`GradientSink`] knows.
    pub parameter: usize,
}

impl Linear {
    /// `x` is [tokens, in]. Without a sink there is nothing to train here, and autograd is not told of the weight.
    pub fn forward(&self, x: &Tensor, sink: Option<&Arc<dyn GradientSink>>) -> Result<Tensor> {
        let product = Product { bias: self.bias.clone(), parameter: self.parameter, sink: sink.cloned() };
        match sink {
            Some(_) => x.apply_op2(&self.weight, product),
            None => x.apply_op2_no_bwd(&self.weight, &product),
        }
    }
}

/// The weight is an argument of the operation, though no gradient is returned for it: it is a variable, and so the
/// backward pass comes by even where x is a constant, as in a first layer.
struct Product {
    bias: Tensor,
    parameter: usize,
    sink: Option<Arc<dyn GradientSink>>,
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, inputs) = x_layout.shape().dims2()?;
        let (outputs, _) = layout.shape().dims2()?;
        let product = x.matmul(weight, (1, tokens, outputs, inputs), x_layout, &layout.transpose(0, 1)?)?;
        let CpuStorage::F32(mut y) = product else { bail!("expected float32 weights") };
        with_values(&self.bias, |bias| {
            for row in y.chunks_exact_mut(outputs) {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
            Ok(())
        })?;
        Ok((CpuStorage::F32(y), (tokens, outputs).into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if let Some(sink) = &self.sink {
            sink.receive(self.parameter, x, dy)?;
        }
        let dx = if x.track_op() { Some(dy.matmul(&weight.detach())?) } else { None };
        Ok((dx, None))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use candle_core::{Device, Result, Tensor, Var};

    use super::{GradientSink, Linear};
    use crate::python_random::MersenneTwister;

    const TOKENS: usize = 5;
    const INPUTS: usize = 8;
    const OUTPUTS: usize = 3;

    /// Forms dL/dW of what it is handed.
    #[derive(Default)]
    struct Products(Mutex<Vec<(usize, Tensor)>>);

    impl GradientSink for Products {
        fn receive(&self, parameter: usize, x: &Tensor, dy: &Tensor) -> Result<()> {
            self.0.lock().expect("one thread").push((parameter, dy.t()?.matmul(x)?));
            Ok(())
        }
    }

    struct Case {
        layer: Linear,
        x: Tensor,
        factors: Tensor,
        products: Arc<Products>,
    }

    impl Case {
        fn new() -> Result<Self> {
            let mut random = MersenneTwister::from_number(2);
            let mut matrix = |rows: usize, columns: usize| {
                Tensor::from_vec(random.uniform(rows * columns, 1.0), (rows, columns), &Device::Cpu)
            };
            let weight = Var::from_tensor(&matrix(OUTPUTS, INPUTS)?)?;
            let layer = Linear { weight, bias: matrix(1, OUTPUTS)?.squeeze(0)?, parameter: 7 };
            let (x, factors) = (matrix(TOKENS, INPUTS)?, matrix(TOKENS, OUTPUTS)?);
            Ok(Self { layer, x, factors, products: Arc::default() })
        }

        /// A sum of y with different factors, so that every dy is another.
        fn loss(&self, x: &Tensor) -> Result<Tensor> {
            let sink: Arc<dyn GradientSink> = self.products.clone();
            (self.layer.forward(x, Some(&sink))? * &self.factors)?.sum_all()
        }

        /// The same by candle's own operations.
        fn plain_loss(&self, x: &Tensor) -> Result<Tensor> {
            (x.matmul(&self.layer.weight.t()?)?.broadcast_add(&self.layer.bias)? * &self.factors)?.sum_all()
        }
    }

    fn largest_difference(one: &Tensor, other: &Tensor) -> Result<f32> {
        (one - other)?.abs()?.flatten_all()?.max(0)?.to_scalar()
    }

    // A few products of numbers below 1, summed in another order: they differ by some 2^-24 each.
    const TOLERANCE: f32 = 1e-6;

    #[test]
    fn the_sink_gets_the_factors_of_the_weight_gradient() -> Result<()> {
        let case = Case::new()?;
        let x = Var::from_tensor(&case.x)?;
        let (gradients, plain) = (case.loss(&x)?.backward()?, case.plain_loss(&x)?.backward()?);
        let products = case.products.0.lock().expect("one thread");
        let [(7, product)] = products.as_slice() else { panic!("expected parameter 7 once, got {products:?}") };
        let gradient =
            |store: &candle_core::backprop::GradStore, of: &Tensor| store.get(of).expect("a gradient").clone();
        assert!(largest_difference(product, &gradient(&plain, &case.layer.weight))? < TOLERANCE);
        assert!(largest_difference(&gradient(&gradients, &x), &gradient(&plain, &x))? < TOLERANCE);
        Ok(())
    }

    #[test]
    fn autograd_forms_no_weight_gradient_and_passes_where_x_is_a_constant() -> Result<()> {
        let case = Case::new()?;
        let gradients = case.loss(&case.x)?.backward()?;
        assert!(gradients.get(&case.layer.weight).is_none() && gradients.get(&case.x).is_none());
        assert_eq!(case.products.0.lock().expect("one thread").len(), 1);
        Ok(())
    }

    #[test]
    fn without_a_sink_the_output_is_the_same_and_a_constant() -> Result<()> {
        let case = Case::new()?;
        let sink: Arc<dyn GradientSink> = case.products.clone();
        let (tapped, plain) = (case.layer.forward(&case.x, Some(&sink))?, case.layer.forward(&case.x, None)?);
        assert_eq!(tapped.to_vec2::<f32>()?, plain.to_vec2::<f32>()?);
        assert!(tapped.track_op() && !plain.track_op());
        Ok(())
    }
}
