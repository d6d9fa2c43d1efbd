//! A linear layer whose delta is applied on the fly. `Unsupported` in this version.

use speft_sys as sys;

use crate::native::defaults;
use crate::options::Layout;

/// How [`Adapter::linear_forward`](crate::Adapter::linear_forward) and its backward multiply.
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

    /// Adds to what the output holds.
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
