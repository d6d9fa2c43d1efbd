//! A linear layer whose delta is applied on the fly: how it multiplies.

use speft_sys as sys;

use crate::native::defaults;
use crate::options::Layout;

/// How [`Adapter::linear_forward`](crate::Adapter::linear_forward) and its backward multiply.
///
/// ```
/// # use speft::*;
/// # let context = Context::new()?;
/// # let mut weights = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// # let mut adapter = Adapter::builder(&context).selection(Selection::Magnitude).budget(2)
/// #     .parameter(Parameter::sparse("w", [2, 3], DataType::Float32)).build()?;
/// # let mut bound = adapter.bind([TensorViewMut::new(&mut weights, [2, 3])?])?;
/// # bound.select()?;
/// bound.unmerge()?; // the weights have their original bits
/// let (x, mut y) = ([1.0_f32, 0.0, 1.0], [10.0_f32, 20.0]);
/// let (x, mut out) = (TensorView::new(&x, [1, 3])?, TensorViewMut::new(&mut y, [1, 2])?);
/// bound.linear_forward("w", LinearOptions::new().accumulate(true), &x, &mut out)?;
/// assert_eq!(y, [10.0 + 4.0, 20.0 + 10.0]); // no step was taken: Δ = 0
/// # speft::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LinearOptions(sys::speft_linear_options);

impl LinearOptions {
    /// W+Δ of layout [`Layout::OutIn`], into the output.
    pub fn new() -> Self {
        Self(defaults!(speft_linear_options_init))
    }

    /// How the weight lies.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.0.layout = layout.code();
        self
    }

    /// Δ in place of W+Δ, for hosts with a product of their own.
    pub fn delta_only(mut self, delta_only: bool) -> Self {
        self.0.delta_only = delta_only.into();
        self
    }

    /// Adds to what the output holds; else that is never read.
    pub fn accumulate(mut self, accumulate: bool) -> Self {
        self.0.accumulate = accumulate.into();
        self
    }

    pub(crate) fn native(&self) -> sys::speft_linear_options {
        self.0
    }
}

impl Default for LinearOptions {
    fn default() -> Self {
        Self::new()
    }
}
