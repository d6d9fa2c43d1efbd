//! Weights to codes and back, and adapters whose deltas are trained beside codes.

use crate::host::*;
use speft::*;

const SHAPE: [usize; 2] = [6, 32];
const TOKENS: usize = 3;
const BUDGET: usize = 12;

/// Sums of 33 products of numbers below 2 at most, in float32; W's and a delta's product apart.
const CLOSE: f64 = 2.0 * 33.0 * 33.0 * 4.0 / (1 << 24) as f64;

/// A layer in NF4, whose three scales are quantized themselves.
#[derive(Clone, PartialEq, Debug)]
struct Codes {
    codes: [u8; 96],
    absmax: [u8; 3],
    absmax_absmax: [f32; 1],
    absmax_offset: [f32; 1],
}

impl Codes {
    fn new(context: &Context) -> Self {
        let mut made = Self { codes: [0; 96], absmax: [0; 3], absmax_absmax: [0.0], absmax_offset: [0.0] };
        let mut weights = numbers(700, 192);
        weights[64..128].iter_mut().for_each(|weight| *weight /= 16.0); // scales that differ
        context.quantize(&TensorView::new(&weights, SHAPE).unwrap(), &mut made.view()).unwrap();
        made
    }

    fn view(&mut self) -> QuantizedMut<'_> {
        QuantizedMut::new(Quantization::Nf4, 64, (&mut self.codes[..]).into(), (&mut self.absmax[..]).into()).nested(
            64,
            (&mut self.absmax_absmax[..]).into(),
            (&mut self.absmax_offset[..]).into(),
        )
    }

    fn values(&mut self, context: &Context) -> Matrix {
        values(context, &self.view().as_view())
    }
}

fn values(context: &Context, quantized: &Quantized<'_>) -> Matrix {
    let mut values = [0.0_f32; 192];
    context.dequantize(quantized, &mut TensorViewMut::new(&mut values, SHAPE).unwrap()).unwrap();
    Matrix::new(&values, SHAPE)
}

fn parameter() -> Parameter {
    Parameter::sparse("w", SHAPE, DataType::Float32)
}

fn learn(adapter: &mut Adapter, seed: u64) {
    let slopes = numbers(seed, 192);
    adapter.accumulate("w", &Gradient::dense(TensorView::new(&slopes, SHAPE).unwrap())).unwrap();
}

fn rate() -> Hyperparameters {
    Hyperparameters::new().learning_rate(0.5)
}

fn delta(adapter: &Adapter) -> Matrix {
    let mut delta = Matrix::new(&[0.0; 192], SHAPE);
    let deltas = adapter.deltas("w").unwrap();
    for (index, value) in adapter.mask("w").unwrap().into_iter().zip(deltas.as_slice::<f32>().unwrap()) {
        delta.entries[index as usize] = f64::from(*value);
    }
    delta
}

#[test]
fn weights_come_back_from_their_codes() {
    let context = cpu();
    let weights: Vec<f32> = (0..96_u8).map(|i| f32::from(i).sin()).collect();
    for (kind, half_step) in [(Quantization::Nf4, 0.152), (Quantization::Fp4, 0.167)] {
        let (mut codes, mut absmax, mut after) = ([0_u8; 48], [0.0_f32; 2], [0.0_f32; 96]);
        let mut into = QuantizedMut::new(kind, 64, (&mut codes[..]).into(), (&mut absmax[..]).into());
        context.quantize(&weights[..].into(), &mut into).unwrap();
        let quantized = Quantized::new(kind, 64, codes[..].into(), absmax[..].into());
        context.dequantize(&quantized, &mut TensorViewMut::from(&mut after[..])).unwrap();
        for (&was, &is) in weights.iter().zip(&after) {
            assert!((was - is).abs() <= half_step, "{was} {is}");
        }
    }
}

#[test]
fn quantized_scales_and_levels_are_read() {
    let context = cpu();
    let levels: Vec<f32> = (0..16_u8).map(|i| f32::from(i) / 16.0).collect();
    let scales: Vec<f32> = (0..=255_u8).map(|i| f32::from(i) / 256.0).collect();
    let (codes, absmax) = ([0x0f_u8; 32], [128_u8; 1]);
    let quantized = Quantized::new(Quantization::Nf4, 64, codes[..].into(), absmax[..].into())
        .levels(levels[..].into())
        .nested(256, [4.0_f32; 1][..].into(), [6.0_f32; 1][..].into())
        .absmax_levels(scales[..].into());
    let mut after = [0.0_f32; 64];
    context.dequantize(&quantized, &mut TensorViewMut::from(&mut after[..])).unwrap();
    assert_eq!(after[..2], [0.0, 15.0 / 16.0 * (0.5 * 4.0 + 6.0)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let context = cpu();
    let (mut codes, mut absmax) = ([7_u8; 47], [7.0_f32; 2]);
    let mut into = QuantizedMut::new(Quantization::Nf4, 64, (&mut codes[..]).into(), (&mut absmax[..]).into());
    refused(context.quantize(&[1.0_f32; 96][..].into(), &mut into), Status::InvalidArgument, "must have 48");
    assert_eq!((codes, absmax), ([7; 47], [7.0; 2]));
}

#[test]
fn scales_are_quantized_too() {
    let context = cpu();
    let mut layer = Codes::new(&context);
    let (once, weights) = (layer.values(&context), numbers(700, 192));
    for (index, (is, was)) in once.entries.iter().zip(weights).enumerate() {
        let was = f64::from(was) / if (64..128).contains(&index) { 16.0 } else { 1.0 };
        // Half of the widest step between levels, and half of what 8 bits have of scales in (-1, 1).
        assert!((is - was).abs() <= 0.152 + 0.004, "{index}: {was} {is}");
    }
}

#[test]
fn eight_bits_have_a_scale_a_row() {
    let context = cpu();
    let weights = [1.0_f32, -0.5, 0.0, 0.25, 8.0, 4.0, 2.0, -8.0];
    let (mut codes, mut absmax) = ([0_i8; 8], [0.0_f32; 2]);
    let view = TensorViewMut::new(&mut codes, [2, 4]).unwrap();
    let mut into = QuantizedMut::new(Quantization::Int8, 0, view, (&mut absmax[..]).into());
    context.quantize(&TensorView::new(&weights, [2, 4]).unwrap(), &mut into).unwrap();
    assert_eq!((codes, absmax), ([127, -64, 0, 32, 127, 64, 32, -127], [1.0, 8.0])); // round(w·127/scale)
}

#[test]
fn a_layer_of_codes_multiplies() {
    let context = cpu();
    let mut layer = Codes::new(&context);
    let base = layer.values(&context);
    let (x, dy) = (numbers(701, TOKENS * 32), numbers(702, TOKENS * 6));
    let (x64, dy64) = (Matrix::new(&x, [TOKENS, 32]), Matrix::new(&dy, [TOKENS, 6]));
    let (x, dy) = (TensorView::new(&x, [TOKENS, 32]).unwrap(), TensorView::new(&dy, [TOKENS, 6]).unwrap());
    let (mut y, mut dx) = (vec![f32::NAN; TOKENS * 6], vec![f32::NAN; TOKENS * 32]);
    let weights = layer.view();
    let (codes, plain) = (weights.as_view(), LinearOptions::new());
    context.quantized_forward(&codes, plain, &x, &mut TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap()).unwrap();
    x64.times(&base.transposed()).assert_close(&y, CLOSE);
    let mut out = TensorViewMut::new(&mut dx, [TOKENS, 32]).unwrap();
    context.quantized_backward(&codes, plain, &dy, &mut out).unwrap();
    // As [in, out] it goes forward as the other goes backward.
    context.quantized_forward(&codes, plain.layout(Layout::InOut).accumulate(true), &dy, &mut out).unwrap();
    dy64.times(&base).scaled(2.0).assert_close(&dx, 2.0 * CLOSE);

    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    let refusal = context.quantized_forward(&codes, plain.delta_only(true), &x, &mut out);
    refused(refusal, Status::InvalidArgument, "delta_only");
    let mut out = TensorViewMut::new(&mut y[..12], [2, 6]).unwrap();
    refused(context.quantized_forward(&codes, plain, &x, &mut out), Status::InvalidArgument, "got 3 and 2");
}

#[test]
fn deltas_are_trained_beside_codes() {
    let context = cpu();
    let mut layer = Codes::new(&context);
    let (before, base) = (layer.clone(), layer.values(&context));
    let mut adapter = Adapter::builder(&context)
        .selection(Selection::Magnitude)
        .budget(BUDGET as u64)
        .parameter(parameter())
        .build()
        .unwrap();
    let mut bound = adapter.bind_weights([layer.view().into()]).unwrap();
    bound.select().unwrap();
    learn(&mut bound, 703);
    bound.step(rate()).unwrap();
    let trained = base.plus(&delta(&bound));
    assert_eq!(values(&context, &bound.quantized("w").unwrap()).entries, base.entries);
    let (x, dy) = (numbers(704, TOKENS * 32), numbers(705, TOKENS * 6));
    let (mut y, mut dx) = (vec![f32::NAN; TOKENS * 6], vec![f32::NAN; TOKENS * 32]);
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    let view = TensorView::new(&x, [TOKENS, 32]).unwrap();
    bound.linear_forward("w", LinearOptions::new(), &view, &mut out).unwrap();
    let mut out = TensorViewMut::new(&mut dx, [TOKENS, 32]).unwrap();
    bound.linear_backward("w", LinearOptions::new(), &TensorView::new(&dy, [TOKENS, 6]).unwrap(), &mut out).unwrap();
    Matrix::new(&x, [TOKENS, 32]).times(&trained.transposed()).assert_close(&y, CLOSE);
    Matrix::new(&dy, [TOKENS, 6]).times(&trained).assert_close(&dx, CLOSE);
    refused(bound.requantization("w"), Status::InvalidState, "speft_merge");
    refused(bound.weights::<f32>("w"), Status::InvalidArgument, "\"w\" are quantized");
    refused(bound.weights_mut::<f32>("w"), Status::InvalidArgument, "\"w\" are quantized");

    bound.merge().unwrap();
    let merged = values(&context, &bound.quantized(0).unwrap());
    let done = bound.requantization("w").unwrap();
    let blocks: Vec<i64> = bound.mask("w").unwrap().into_iter().map(|index| index / 64).collect();
    let (mut errors, mut squares) = (0.0, 0.0); // of the blocks that have a delta
    for (index, (is, was)) in merged.entries.iter().zip(&trained.entries).enumerate() {
        if blocks.contains(&(index as i64 / 64)) {
            errors += (is - was).powi(2);
            squares += was.powi(2);
        }
    }
    assert_eq!(done.deltas, BUDGET as i64);
    assert!(0 < done.changed && done.changed <= done.deltas, "{done:?}");
    // The library's w is rounded to float32.
    assert!((done.relative_error - (errors / squares).sqrt()).abs() <= 1e-6, "{done:?} {errors} {squares}");
    assert_eq!(bound.total_requantization().unwrap(), done);
    bound.unmerge().unwrap();
    drop(bound);
    assert_eq!(layer, before);
}

#[test]
fn each_row_has_its_adapter() {
    let context = cpu();
    let mut layer = Codes::new(&context);
    let base = layer.values(&context);
    let weights = layer.view();
    let train = |selection| {
        let made = Adapter::builder(&context).selection(selection).budget(BUDGET as u64).parameter(parameter());
        let mut adapter = made.build().unwrap();
        // SAFETY: the layer outlives the adapters, and nobody else uses it.
        unsafe { adapter.bind_quantized("w", &weights) }.unwrap();
        adapter.select().unwrap();
        learn(&mut adapter, 706);
        adapter.step(rate()).unwrap();
        adapter
    };
    let (mut first, mut second) = (train(Selection::Magnitude), train(Selection::Random));
    let matrices = [base.plus(&delta(&second)), base.clone(), base.plus(&delta(&first))];
    let (x, mut y) = (numbers(707, TOKENS * 32), vec![f32::NAN; TOKENS * 6]);
    let view = TensorView::new(&x, [TOKENS, 32]).unwrap();
    let choice = [Some(1), None, Some(0)];
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    let plain = LinearOptions::new();
    let both = &mut [(&mut first, "w"), (&mut second, "w")];
    Adapter::linear_forward_each(both, plain, &view, &choice, &mut out).unwrap();
    for (token, matrix) in matrices.iter().enumerate() {
        let row = Matrix::new(&x[32 * token..32 * (token + 1)], [1, 32]);
        row.times(&matrix.transposed()).assert_close(&y[6 * token..6 * (token + 1)], CLOSE);
    }

    let before = bits(&y);
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    let nobody: &mut [(&mut Adapter, usize)] = &mut [];
    let refusal = Adapter::linear_forward_each(nobody, plain, &view, &choice, &mut out);
    refused(refusal, Status::InvalidArgument, "count must be 1");
    let refusal = Adapter::linear_forward_each(&mut [(&mut first, 0)], plain, &view, &choice, &mut out);
    refused(refusal, Status::InvalidArgument, "between -1 and 0; got 1 for row 0");
    let refusal = Adapter::linear_forward_each(&mut [(&mut first, "v")], plain, &view, &choice, &mut out);
    refused(refusal, Status::InvalidArgument, "\"v\"");
    // A loan that is over is not read.
    let mut moved = Codes::new(&context);
    std::mem::forget(second.bind_weights([moved.view().into()]).unwrap());
    let both = &mut [(&mut first, 0), (&mut second, 0)];
    let refusal = Adapter::linear_forward_each(both, plain, &view, &choice, &mut out);
    refused(refusal, Status::InvalidState, "not bound");
    assert_eq!(bits(&y), before);
}

#[test]
fn bindings_that_do_not_fit_are_refused() {
    let context = cpu();
    let mut layer = Codes::new(&context);
    let mut dense = Layer::new(708, SHAPE);
    let mut adapter = builder(&context, &dense).selection(Selection::Magnitude).budget(5).build().unwrap();
    layer.absmax_absmax[0] = -1.0;
    refused(adapter.bind_weights([layer.view().into()]), Status::InvalidArgument, "absmax_absmax");
    layer.absmax_absmax[0] = 1.0;
    refused(adapter.bind_weights([]), Status::InvalidArgument, "1 parameters; got 0");
    adapter.bind_weights([layer.view().into()]).unwrap().select().unwrap();
    let view = TensorViewMut::new(&mut dense.weights, SHAPE).unwrap();
    refused(adapter.bind([view]), Status::InvalidState, "'w' was bound to quantized");

    let mut other = builder(&context, &dense).selection(Selection::Magnitude).budget(5).build().unwrap();
    let bound = dense.bound(&mut other);
    refused(bound.quantized("w"), Status::InvalidArgument, "\"w\" are dense");
    drop(bound);
    dense.bound(&mut other).select().unwrap();
    refused(other.requantization("w"), Status::InvalidArgument, "'w' are not quantized");
}
