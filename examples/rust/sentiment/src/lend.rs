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
