//! A linear layer whose weight gradient is never formed: the backward pass hands x and dy to whom they concern.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{bail, CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, Var};

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

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, weight: &CpuStorage, layout: &Layout)
        -> Result<(CpuStorage, Shape)> {
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
