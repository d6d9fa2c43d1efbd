//! One contribution to a parameter's gradient, in whichever form the host has it.

use speft_sys as sys;

use crate::error::{Error, Result};
use crate::native::empty;
use crate::options::Layout;
use crate::tensor::TensorView;

/// One contribution to a parameter's gradient: dense, from activations, or at the mask. The tensors are float32,
/// bfloat16 or float16, and free for reuse when the call that takes it returns.
///
/// ```
/// use speft::{Gradient, TensorView};
///
/// let (x, dy) = (vec![1.0_f32; 8 * 16], vec![0.5_f32; 8 * 24]); // 8 tokens through a layer from 16 to 24
/// let gradient = Gradient::activations(TensorView::new(&x, [8, 16])?, TensorView::new(&dy, [8, 24])?).scale(1.0 / 8.0);
/// # speft::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Gradient<'a> {
    form: Form<'a>,
    scale: f64,
    layout: Layout,
    example_offsets: Option<TensorView<'a>>,
}

#[derive(Clone, Debug)]
enum Form<'a> {
    Dense(TensorView<'a>),
    Activations(TensorView<'a>, Option<TensorView<'a>>),
    Values(TensorView<'a>),
}

impl<'a> Gradient<'a> {
    /// dL/dW, in the shape of the parameter.
    pub fn dense(dense: TensorView<'a>) -> Self {
        Self::new(Form::Dense(dense))
    }

    /// `x` `[tokens, in]` and `dy` `[tokens, out]` of a linear layer: dL/dW is their product over the tokens. No dense
    /// dW is formed after the selection.
    pub fn activations(x: TensorView<'a>, dy: TensorView<'a>) -> Self {
        Self::new(Form::Activations(x, Some(dy)))
    }

    /// `x` alone, which is all that [`Selection::Wanda`](crate::Selection::Wanda) needs.
    pub fn inputs(x: TensorView<'a>) -> Self {
        Self::new(Form::Activations(x, None))
    }

    /// dL/dW at the mask, `[k]` in the mask's order.
    pub fn values(values: TensorView<'a>) -> Self {
        Self::new(Form::Values(values))
    }

    /// Multiplies the contribution: 1/tokens, or the inverse of a loss scale. Not 0.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// How the weight of the linear layer lies; [`Layout::OutIn`] unless it is said.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// For Fisher scores of each example from activations: the first token of each, and the number of tokens at the
    /// end, in host memory.
    pub fn example_offsets(mut self, offsets: &'a [i64]) -> Self {
        self.example_offsets = Some(offsets.into());
        self
    }

    fn new(form: Form<'a>) -> Self {
        Self { form, scale: 1.0, layout: Layout::OutIn, example_offsets: None }
    }

    /// Runs `call` with C's struct.
    pub(crate) fn with_native<R>(&self, call: impl FnOnce(*const sys::speft_gradient) -> Result<R>) -> Result<R> {
        if self.scale == 0.0 {
            return Err(Error::refuse("scale must not be 0")); // which C takes for 1
        }
        let mut first = None;
        let mut second = None;
        let mut gradient = empty!(speft_gradient);
        gradient.scale = self.scale;
        gradient.layout = self.layout.code();
        match &self.form {
            Form::Dense(dense) => {
                gradient.kind = sys::SPEFT_GRADIENT_DENSE;
                gradient.dense = first.insert(dense.as_raw().native()).as_ptr();
            }
            Form::Activations(x, dy) => {
                gradient.kind = sys::SPEFT_GRADIENT_ACTIVATIONS;
                gradient.x = first.insert(x.as_raw().native()).as_ptr();
                if let Some(dy) = dy {
                    gradient.dy = second.insert(dy.as_raw().native()).as_ptr();
                }
            }
            Form::Values(values) => {
                gradient.kind = sys::SPEFT_GRADIENT_VALUES;
                gradient.values = first.insert(values.as_raw().native()).as_ptr();
            }
        }
        let offsets = self.example_offsets.as_ref().map(|offsets| offsets.as_raw().native());
        if let Some(offsets) = &offsets {
            gradient.example_offsets = offsets.as_ptr();
        }
        call(&gradient)
    }
}
