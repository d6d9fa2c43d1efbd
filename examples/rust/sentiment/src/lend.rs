//! candle's weights lent to an adapter, for the length of one call, without `unsafe`.
//!
//! A `Var` is shared storage behind a lock. candle gives `&mut` to it only inside an in-place operation, one tensor at a
//! time, while an adapter's step wants all weights at once. So the operations nest: each holds the lock of one tensor,
//! adds its slice to those of the operations around it, and goes on to the next; the innermost has all of them. Nobody
//! else can read or write the weights until the call is over, and the borrow checker sees to it that no slice outlives
//! its lock. Two weights that share one storage would wait for each other's lock: tied weights are one parameter.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
use speft::TensorViewMut;

/// Runs `body` with the memory of all `vars`, in their order.
pub fn lend<T>(vars: &[Var], body: impl FnOnce(Vec<TensorViewMut<'_>>) -> T) -> Result<T> {
    let mut body = Some(body);
    let mut answer = None;
    lend_next(vars, Vec::new(), &mut |views| answer = body.take().map(|body| body(views)))?;
    Ok(answer.expect("the innermost operation has run"))
}

type Body<'a> = &'a mut dyn FnMut(Vec<TensorViewMut<'_>>);

fn lend_next(vars: &[Var], views: Vec<TensorViewMut<'_>>, body: Body<'_>) -> Result<()> {
    let Some((var, rest)) = vars.split_first() else {
        body(views);
        return Ok(());
    };
    var.inplace_op1(&Lend { rest, inner: RefCell::new(Some((views, body))) })
}

/// One of the nested operations: candle calls it once, by a shared reference, whence the cell.
struct Lend<'a> {
    rest: &'a [Var],
    inner: RefCell<Option<(Vec<TensorViewMut<'a>>, Body<'a>)>>,
}

impl InplaceOp1 for Lend<'_> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((outer, body)) = self.inner.take() else { bail!("an in-place operation runs once") };
        let (CpuStorage::F32(values), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            bail!("expected contiguous float32 weights, got layout {layout:?}");
        };
        let mut views: Vec<TensorViewMut<'_>> = outer;
        views.push(TensorViewMut::new(&mut values[from..to], layout.dims()).map_err(candle_core::Error::wrap)?);
        lend_next(self.rest, views, body)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Var};
    use speft::{Adapter, Bound, Context, DataType, Gradient, Hyperparameters, Parameter, Selection, TensorView};

    use super::lend;

    fn vars() -> Result<[Var; 2]> {
        let first = Var::from_slice(&[1f32, -4.0, 2.0, 3.0, 0.5, -0.25], (2, 3), &Device::Cpu)?;
        Ok([first, Var::from_slice(&[7f32, 8.0], 2, &Device::Cpu)?])
    }

    #[test]
    fn all_weights_are_lent_at_once_and_in_order() -> Result<()> {
        let vars = vars()?;
        let shapes: Vec<Vec<i64>> = lend(&vars, |mut views| {
            let [first, second] = views.as_mut_slice() else { panic!("expected two views") };
            first.as_mut_slice::<f32>().expect("float32")[5] = second.as_slice::<f32>().expect("float32")[1];
            views.iter().map(|view| view.shape().to_vec()).collect()
        })?;
        assert_eq!(shapes, [vec![2, 3], vec![2]]);
        assert_eq!(vars[0].to_vec2::<f32>()?, [[1.0, -4.0, 2.0], [3.0, 0.5, 8.0]]);
        Ok(())
    }

    #[test]
    fn other_types_are_refused_and_nothing_runs() -> Result<()> {
        let [first, _] = vars()?;
        let wide = Var::zeros(3, DType::F64, &Device::Cpu)?;
        let refusal = lend(&[first, wide], |_| panic!("must not run")).expect_err("float64 weights");
        assert!(refusal.to_string().contains("float32"), "{refusal}");
        Ok(())
    }

    /// A call on `adapter` with the variables lent to it.
    fn call<T>(adapter: &mut Adapter, vars: &[Var], call: impl FnOnce(&mut Bound<'_>) -> speft::Result<T>) -> T {
        let answer = lend(vars, |views| call(&mut adapter.bind(views)?)).expect("contiguous float32 weights");
        answer.expect("a call in its order")
    }

    #[test]
    fn an_adapter_trains_variables_in_place_and_gives_their_bits_back() -> Result<()> {
        let vars = vars()?;
        let context = Context::new().expect("a backend");
        let mut adapter = Adapter::builder(&context)
            .selection(Selection::Magnitude)
            .budget(3)
            .parameter(Parameter::sparse("a", [2, 3], DataType::Float32))
            .parameter(Parameter::sparse("b", [2], DataType::Float32))
            .build()
            .expect("an adapter");
        call(&mut adapter, &vars, |bound| bound.select());
        for (name, slopes, shape) in [("a", vec![1f32; 6], vec![2, 3]), ("b", vec![-1f32; 2], vec![2])] {
            let gradient = Gradient::dense(TensorView::new(&slopes, shape).expect("a tensor"));
            adapter.accumulate(name, &gradient).expect("a gradient");
        }
        call(&mut adapter, &vars, |bound| bound.step(Hyperparameters::new().learning_rate(0.5)));
        // Adam's first step is the learning rate, against the gradient's sign; ε is far below one rounding.
        assert_eq!(vars[0].to_vec2::<f32>()?, [[1.0, -4.5, 2.0], [3.0, 0.5, -0.25]]);
        assert_eq!(vars[1].to_vec1::<f32>()?, [7.5, 8.5]);
        call(&mut adapter, &vars, |bound| bound.unmerge());
        assert_eq!(vars[0].to_vec2::<f32>()?, [[1.0, -4.0, 2.0], [3.0, 0.5, -0.25]]);
        assert_eq!(vars[1].to_vec1::<f32>()?, [7.0, 8.0]);
        Ok(())
    }
}
