//! A linear layer whose delta is applied on the fly, of an adapter that is unmerged.

use crate::host::*;
use speft::*;

const SHAPE: [usize; 2] = [6, 4];
const TOKENS: usize = 3;

/// Sums of 4 or 6 products of numbers below 2, in float32.
const CLOSE: f64 = 2e-6;

/// Trained for two steps, and unmerged; and W+Δ and Δ as its deltas say.
fn unmerged(context: &Context, layer: &mut Layer) -> (Adapter, [Matrix; 2]) {
    let mut adapter = builder(context, layer).budget(5).build().unwrap();
    train(&mut adapter, layer, 2);
    layer.bound(&mut adapter).unmerge().unwrap();
    let mut delta = Matrix::new(&[0.0; 24], SHAPE);
    let deltas = adapter.deltas("w").unwrap();
    for (index, value) in adapter.mask("w").unwrap().into_iter().zip(deltas.as_slice::<f32>().unwrap()) {
        delta.entries[index as usize] = f64::from(*value);
    }
    let both = Matrix::new(&layer.weights, SHAPE).plus(&delta);
    (adapter, [both, delta])
}

#[test]
fn multiplies_by_the_weights_and_the_delta() {
    let context = cpu();
    for layout in [Layout::OutIn, Layout::InOut] {
        let mut layer = Layer::new(600, SHAPE);
        let original = layer.weights.clone();
        let (mut adapter, [both, delta]) = unmerged(&context, &mut layer);
        let [outputs, inputs] = if layout == Layout::OutIn { SHAPE } else { [SHAPE[1], SHAPE[0]] };
        let (x, dy) = (numbers(601, TOKENS * inputs), numbers(602, TOKENS * outputs));
        let (of_x, of_dy) = ([TOKENS, inputs], [TOKENS, outputs]);
        let (x64, dy64) = (Matrix::new(&x, of_x), Matrix::new(&dy, of_dy));
        let (x, dy) = (TensorView::new(&x, of_x).unwrap(), TensorView::new(&dy, of_dy).unwrap());
        let mut bound = layer.bound(&mut adapter);
        for (delta_only, weights) in [(false, &both), (true, &delta)] {
            // [out, in], whichever way it lies.
            let weights = if layout == Layout::OutIn { weights.clone() } else { weights.transposed() };
            for accumulate in [false, true] {
                let options = LinearOptions::new().layout(layout).delta_only(delta_only).accumulate(accumulate);
                // What is not added to is never read.
                let there = if accumulate { 1.0_f32 } else { f32::NAN };
                let add = if accumulate { 1.0 } else { 0.0 };
                let (mut y, mut dx) = (vec![there; TOKENS * outputs], vec![there; TOKENS * inputs]);
                let mut out = TensorViewMut::new(&mut y, of_dy).unwrap();
                bound.linear_forward("w", options, &x, &mut out).unwrap();
                let mut out = TensorViewMut::new(&mut dx, of_x).unwrap();
                bound.linear_backward(0, options, &dy, &mut out).unwrap();
                let ones = |count: usize, shape| Matrix::new(&vec![add; count], shape);
                x64.times(&weights.transposed()).plus(&ones(y.len(), of_dy)).assert_close(&y, CLOSE);
                dy64.times(&weights).plus(&ones(dx.len(), of_x)).assert_close(&dx, CLOSE);
            }
        }
        drop(bound);
        assert_eq!(bits(&layer.weights), bits(&original));
    }
}

#[test]
fn takes_tensors_of_sixteen_bits() {
    use speft::half::bf16;
    let context = cpu();
    let mut layer = Layer::new(603, SHAPE);
    let (mut adapter, [both, _]) = unmerged(&context, &mut layer);
    let x: Vec<bf16> = numbers(604, TOKENS * 4).into_iter().map(bf16::from_f32).collect();
    let mut y = vec![bf16::NAN; TOKENS * 6];
    let view = TensorView::new(&x, [TOKENS, 4]).unwrap();
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    layer.bound(&mut adapter).linear_forward("w", LinearOptions::default(), &view, &mut out).unwrap();
    let x: Vec<f32> = x.into_iter().map(f32::from).collect();
    let y: Vec<f32> = y.into_iter().map(f32::from).collect();
    // bfloat16 has 8 significant bits. Sums below 8 are rounded once, or twice where Δ is added after W; W may be, too:
    // four terms below 2, a 256th each.
    Matrix::new(&x, [TOKENS, 4]).times(&both.transposed()).assert_close(&y, 3.0 * 8.0 / 256.0);
}

#[test]
fn refuses_by_name_and_writes_nothing() {
    let context = cpu();
    let mut layer = Layer::new(605, SHAPE);
    let (mut adapter, _) = unmerged(&context, &mut layer);
    let (x, mut y) = (numbers(606, TOKENS * 6), vec![7.0_f32; TOKENS * 6]);
    let view = |rows: usize, columns: usize| TensorView::new(&x[..rows * columns], [rows, columns]).unwrap();
    let (argument, state) = (Status::InvalidArgument, Status::InvalidState);
    let whole = LinearOptions::new();
    {
        let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
        let mut bound = layer.bound(&mut adapter);
        refused(bound.linear_forward("w", whole, &view(TOKENS, 6), &mut out), argument, "[3, 4]; got [3, 6]");
        refused(bound.linear_forward("w", whole, &view(2, 4), &mut out), argument, "[2, 6]; got [3, 6]");
        refused(bound.linear_backward("w", whole, &view(TOKENS, 6), &mut out), argument, "[3, 4]; got [3, 6]");
        refused(bound.linear_forward("v", whole, &view(TOKENS, 4), &mut out), argument, "one of (w)");
        refused(bound.linear_backward(1, whole, &view(TOKENS, 6), &mut out), argument, "1");
        bound.attach().unwrap(); // which is to merge it
        let words = "until speft_unmerge";
        refused(bound.linear_forward("w", whole, &view(TOKENS, 4), &mut out), state, words);
        let delta = whole.delta_only(true);
        refused(bound.linear_forward("w", delta, &view(TOKENS, 4), &mut out), state, words);
        bound.unmerge().unwrap();
    }
    let mut young = builder(&context, &layer).budget(5).build().unwrap();
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    refused(layer.bound(&mut young).linear_forward("w", whole, &view(TOKENS, 4), &mut out), state, "select");
    assert_eq!(y, [7.0; TOKENS * 6]);
}

#[test]
fn a_loan_that_is_over_is_not_read() {
    let context = cpu();
    let mut layer = Layer::new(607, SHAPE);
    let (mut adapter, [_, delta]) = unmerged(&context, &mut layer);
    let (x, mut y) = (numbers(608, TOKENS * 4), vec![7.0_f32; TOKENS * 6]);
    let view = TensorView::new(&x, [TOKENS, 4]).unwrap();
    std::mem::forget(layer.bound(&mut adapter));
    drop(std::mem::take(&mut layer.weights)); // legal: as far as the compiler sees, the loan is over
    let mut out = TensorViewMut::new(&mut y, [TOKENS, 6]).unwrap();
    refused(adapter.linear_forward("w", LinearOptions::new(), &view, &mut out), Status::InvalidState, "bound");
    adapter.linear_forward("w", LinearOptions::new().delta_only(true), &view, &mut out).unwrap(); // needs no weights
    Matrix::new(&x, [TOKENS, 4]).times(&delta.transposed()).assert_close(&y, CLOSE);
}
