//! Quantized base weights, in bitsandbytes' layout. As an adapter's weights `Unsupported` in this version.

use speft_sys as sys;

use crate::context::Context;
use crate::error::Result;
use crate::native::empty;
use crate::options::Quantization;
use crate::tensor::{TensorView, TensorViewMut};

/// Codes, and how they turn into numbers.
#[derive(Debug)]
pub struct Quantized<'a> {
    kind: Quantization,
    block: i32,
    codes: TensorView<'a>,
    absmax: TensorView<'a>,
    levels: Option<TensorView<'a>>,
    nested: Option<Nested<'a>>,
}

/// A second quantization, of the scales.
#[derive(Debug)]
struct Nested<'a> {
    absmax: TensorView<'a>,
    levels: TensorView<'a>,
    block: i32,
    offset: TensorView<'a>,
}

impl<'a> Quantized<'a> {
    /// `codes` of blocks of `block` scalars, each with one scale of `absmax`.
    pub fn new(kind: Quantization, block: i32, codes: TensorView<'a>, absmax: TensorView<'a>) -> Self {
        Self { kind, block, codes, absmax, levels: None, nested: None }
    }

    /// The value of each code, in place of the kind's own table.
    pub fn levels(mut self, levels: TensorView<'a>) -> Self {
        self.levels = Some(levels);
        self
    }

    /// The scales are quantized themselves: blocks of `block` of them share one of `absmax`, each is its code's value
    /// among `levels` times that, plus `offset`, a tensor of one scalar.
    pub fn nested(
        mut self,
        block: i32,
        absmax: TensorView<'a>,
        levels: TensorView<'a>,
        offset: TensorView<'a>,
    ) -> Self {
        self.nested = Some(Nested { absmax, levels, block, offset });
        self
    }

    /// Runs `call` with C's struct.
    pub(crate) fn with_native<R>(&self, call: impl FnOnce(*const sys::speft_weights) -> Result<R>) -> Result<R> {
        let (codes, absmax) = (self.codes.as_raw().native(), self.absmax.as_raw().native());
        let levels = self.levels.as_ref().map(|levels| levels.as_raw().native());
        let nested = self.nested.as_ref();
        let nested = nested.map(|nested| {
            let (absmax, levels) = (nested.absmax.as_raw().native(), nested.levels.as_raw().native());
            (nested.block, absmax, levels, nested.offset.as_raw().native())
        });
        let mut quantization = empty!(speft_quantization);
        quantization.block = self.block;
        quantization.absmax = absmax.as_ptr();
        if let Some(levels) = &levels {
            quantization.levels = levels.as_ptr();
        }
        if let Some((block, absmax, levels, offset)) = &nested {
            quantization.absmax_absmax = absmax.as_ptr();
            quantization.absmax_levels = levels.as_ptr();
            quantization.absmax_offset = offset.as_ptr();
            quantization.absmax_block = *block;
        }
        let mut weights = empty!(speft_weights);
        weights.kind = self.kind.code();
        weights.data = codes.as_ptr();
        weights.quantization = &quantization;
        call(&weights)
    }
}

/// Where [`Context::quantize`] writes to.
#[derive(Debug)]
pub struct QuantizedMut<'a> {
    kind: Quantization,
    block: i32,
    codes: TensorViewMut<'a>,
    absmax: TensorViewMut<'a>,
}

impl<'a> QuantizedMut<'a> {
    /// Codes of blocks of `block` scalars, and one scale a block.
    pub fn new(kind: Quantization, block: i32, codes: TensorViewMut<'a>, absmax: TensorViewMut<'a>) -> Self {
        Self { kind, block, codes, absmax }
    }
}

impl Context {
    /// Writes codes and scales of `weights`, all finite. Each scalar gets the nearest level.
    ///
    /// # Errors
    /// `InvalidArgument`: what is written does not fit the weights, or these are not finite.
    pub fn quantize(&self, weights: &TensorView<'_>, into: &mut QuantizedMut<'_>) -> Result<()> {
        let weights = weights.as_raw().native();
        let into = Quantized::new(into.kind, into.block, into.codes.as_view(), into.absmax.as_view());
        into.with_native(|quantized| {
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
}
