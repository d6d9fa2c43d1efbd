//! Quantized base weights, in bitsandbytes' layout.

use speft_sys as sys;

use crate::context::Context;
use crate::error::Result;
use crate::linear::LinearOptions;
use crate::native::empty;
use crate::options::Quantization;
use crate::tensor::{TensorView, TensorViewMut};

/// A second quantization, of the scales.
#[derive(Debug)]
struct Nested<T> {
    block: i32,
    absmax: T,
    offset: T,
}

/// What both kinds of views are made of; `$view` is that of what may be written.
macro_rules! builders {
    ($view:ident) => {
        /// `codes` of blocks of `block` scalars, each with one scale of `absmax`: float32, or uint8 where the scales
        /// are quantized themselves. [`Quantization::Int8`] has a block of 0 and a scale a row.
        pub fn new(kind: Quantization, block: i32, codes: $view<'a>, absmax: $view<'a>) -> Self {
            Self { kind, block, codes, absmax, levels: None, nested: None, absmax_levels: None }
        }

        /// The value of each code, in place of the kind's own table.
        pub fn levels(mut self, levels: TensorView<'a>) -> Self {
            self.levels = Some(levels);
            self
        }

        /// The scales are quantized themselves: blocks of `block` of them share one of `absmax`, and each is its code's
        /// value times that, plus `offset`, a tensor of one scalar.
        pub fn nested(mut self, block: i32, absmax: $view<'a>, offset: $view<'a>) -> Self {
            self.nested = Some(Nested { block, absmax, offset });
            self
        }

        /// The values of the scales' 256 codes, in place of bitsandbytes' dynamic map.
        pub fn absmax_levels(mut self, levels: TensorView<'a>) -> Self {
            self.absmax_levels = Some(levels);
            self
        }
    };
}

/// Codes, and how they turn into numbers.
#[derive(Debug)]
pub struct Quantized<'a> {
    kind: Quantization,
    block: i32,
    codes: TensorView<'a>,
    absmax: TensorView<'a>,
    levels: Option<TensorView<'a>>,
    nested: Option<Nested<TensorView<'a>>>,
    absmax_levels: Option<TensorView<'a>>,
}

impl<'a> Quantized<'a> {
    builders!(TensorView);

    /// Runs `call` with C's struct.
    pub(crate) fn with_native<R>(&self, call: impl FnOnce(*const sys::speft_weights) -> Result<R>) -> Result<R> {
        let (codes, absmax) = (self.codes.as_raw().native(), self.absmax.as_raw().native());
        let levels = self.levels.as_ref().map(|levels| levels.as_raw().native());
        let nested = self
            .nested
            .as_ref()
            .map(|nested| (nested.block, nested.absmax.as_raw().native(), nested.offset.as_raw().native()));
        let absmax_levels = self.absmax_levels.as_ref().map(|levels| levels.as_raw().native());
        let mut quantization = empty!(speft_quantization);
        quantization.block = self.block;
        quantization.absmax = absmax.as_ptr();
        if let Some(levels) = &levels {
            quantization.levels = levels.as_ptr();
        }
        if let Some((block, absmax, offset)) = &nested {
            quantization.absmax_absmax = absmax.as_ptr();
            quantization.absmax_offset = offset.as_ptr();
            quantization.absmax_block = *block;
        }
        if let Some(levels) = &absmax_levels {
            quantization.absmax_levels = levels.as_ptr();
        }
        let mut weights = empty!(speft_weights);
        weights.kind = self.kind.code();
        weights.data = codes.as_ptr();
        weights.quantization = &quantization;
        call(&weights)
    }
}

/// The same to be written: where [`Context::quantize`] writes to, and what an adapter is bound to. Codes and scales are
/// written, tables are read.
#[derive(Debug)]
pub struct QuantizedMut<'a> {
    kind: Quantization,
    block: i32,
    codes: TensorViewMut<'a>,
    absmax: TensorViewMut<'a>,
    levels: Option<TensorView<'a>>,
    nested: Option<Nested<TensorViewMut<'a>>>,
    absmax_levels: Option<TensorView<'a>>,
}

impl<'a> QuantizedMut<'a> {
    builders!(TensorViewMut);

    /// The same to be read.
    pub fn as_view(&self) -> Quantized<'_> {
        let nested = self.nested.as_ref().map(|nested| Nested {
            block: nested.block,
            absmax: nested.absmax.as_view(),
            offset: nested.offset.as_view(),
        });
        Quantized {
            kind: self.kind,
            block: self.block,
            codes: self.codes.as_view(),
            absmax: self.absmax.as_view(),
            levels: self.levels.clone(),
            nested,
            absmax_levels: self.absmax_levels.clone(),
        }
    }
}

impl Context {
    /// Writes codes and scales of `weights`, all finite. Each scalar gets the nearest level.
    ///
    /// # Errors
    /// `InvalidArgument`: what is written does not fit the weights, or these are not finite.
    pub fn quantize(&self, weights: &TensorView<'_>, into: &mut QuantizedMut<'_>) -> Result<()> {
        let weights = weights.as_raw().native();
        into.as_view().with_native(|quantized| {
            // SAFETY: the context lives; the views borrow what they show, those that are written exclusively.
            self.host.call(|error| unsafe { sys::speft_quantize(self.as_ptr(), weights.as_ptr(), quantized, error) })
        })
    }

    /// Writes the values of quantized weights: float32, bfloat16 or float16.
    ///
    /// # Errors
    /// `InvalidArgument`: they do not fit what is written.
    pub fn dequantize(&self, quantized: &Quantized<'_>, out: &mut TensorViewMut<'_>) -> Result<()> {
        let out = out.as_raw().native();
        quantized.with_native(|quantized| {
            // SAFETY: the context lives; the views borrow what they show.
            self.host.call(|error| unsafe { sys::speft_dequantize(self.as_ptr(), quantized, out.as_ptr(), error) })
        })
    }

    /// out = x·Wᵀ with a quantized W, of which no dense copy is made: x `[tokens, in]`, out `[tokens, out]`, float32,
    /// bfloat16 or float16. Layers that an adapter trains are
    /// [`Adapter::linear_forward`](crate::Adapter::linear_forward)'s.
    ///
    /// ```
    /// # use speft::*;
    /// let context = Context::new()?;
    /// let (mut codes, mut absmax) = ([0_u8; 4], [0.0_f32; 1]);
    /// let mut weights =
    ///     QuantizedMut::new(Quantization::Nf4, 64, codes.as_mut_slice().into(), absmax.as_mut_slice().into());
    /// context.quantize(&TensorView::new(&[0.0_f32, 4.0, 0.0, 0.0, -4.0, 0.0, 0.0, 0.0], [2, 4])?, &mut weights)?;
    /// let (x, mut y) = ([1.0_f32, 1.0, 1.0, 1.0], [0.0_f32; 2]);
    /// let (x, mut out) = (TensorView::new(&x, [1, 4])?, TensorViewMut::new(&mut y, [1, 2])?);
    /// context.quantized_forward(&weights.as_view(), LinearOptions::new(), &x, &mut out)?;
    /// assert_eq!(y, [4.0, -4.0]);
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument`: tensors of other shapes; [`delta_only`](LinearOptions::delta_only).
    pub fn quantized_forward(
        &self,
        quantized: &Quantized<'_>,
        options: LinearOptions,
        x: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        self.multiply_quantized(sys::speft_quantized_forward, quantized, options, x, out)
    }

    /// out = dy·W, the gradient of the layer's inputs: dy `[tokens, out]`, out `[tokens, in]`.
    ///
    /// # Errors
    /// As of [`quantized_forward`](Self::quantized_forward).
    pub fn quantized_backward(
        &self,
        quantized: &Quantized<'_>,
        options: LinearOptions,
        dy: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        self.multiply_quantized(sys::speft_quantized_backward, quantized, options, dy, out)
    }

    fn multiply_quantized(
        &self,
        multiply: Multiply,
        quantized: &Quantized<'_>,
        options: LinearOptions,
        inputs: &TensorView<'_>,
        out: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let (inputs, outputs) = (inputs.as_raw().native(), out.as_raw().native());
        quantized.with_native(|quantized| {
            // SAFETY: the context lives; the views borrow what they show, `out` exclusively.
            self.host.call(|error| unsafe {
                multiply(self.as_ptr(), quantized, &options.native(), inputs.as_ptr(), outputs.as_ptr(), error)
            })
        })
    }
}

/// `speft_quantized_forward` or `speft_quantized_backward`.
type Multiply = unsafe extern "C" fn(
    *mut sys::speft_context,
    *const sys::speft_weights,
    *const sys::speft_linear_options,
    *const sys::speft_tensor,
    *const sys::speft_tensor,
    *mut *mut sys::speft_error,
) -> sys::speft_status;
