//! Loans of weights: they end, whatever becomes of their guards.

use crate::host::*;
use speft::*;

fn selected(context: &Context, layer: &mut Layer) -> Adapter {
    let mut adapter = builder(context, layer).budget(5).build().unwrap();
    train(&mut adapter, layer, 1);
    adapter
}

fn view(layer: &mut Layer) -> [TensorViewMut<'_>; 1] {
    [TensorViewMut::new(&mut layer.weights, layer.shape).unwrap()]
}

#[test]
fn a_guard_ends_the_loan() {
    let context = cpu();
    let mut layer = Layer::new(70, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    drop(layer.bound(&mut adapter));
    refused(adapter.unmerge(), Status::InvalidState, "bound");
}

#[test]
fn a_forgotten_guard_ends_at_the_next_call() {
    let context = cpu();
    let mut layer = Layer::new(71, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    let trained = layer.weights.clone();
    std::mem::forget(layer.bound(&mut adapter));
    let moved = std::mem::take(&mut layer.weights); // legal: as far as the compiler sees, the loan is over
    refused(adapter.unmerge(), Status::InvalidState, "bound");
    assert_eq!(bits(&moved), bits(&trained));
    layer.weights = moved;
    layer.bound(&mut adapter).unmerge().unwrap();
}

#[test]
fn a_guard_does_not_touch_an_adapter_that_was_swapped_in() {
    let context = cpu();
    let (mut first_layer, mut second_layer) = (Layer::new(72, [6, 4]), Layer::new(73, [6, 4]));
    let mut first = selected(&context, &mut first_layer);
    let mut second = selected(&context, &mut second_layer);
    std::mem::forget(second_layer.bound(&mut second));
    let mut guard = first_layer.bound(&mut first);
    std::mem::swap(&mut *guard, &mut second);
    refused(guard.unmerge(), Status::InvalidState, "bound"); // the forgotten loan of what was `second`
    drop(guard);
    refused(second.unmerge(), Status::InvalidState, "bound"); // the loan of what was `first`, without its guard
    first_layer.bound(&mut second).unmerge().unwrap();
    second_layer.bound(&mut first).unmerge().unwrap();
}

#[test]
fn a_loan_inside_a_loan_ends_both() {
    let context = cpu();
    let mut layer = Layer::new(74, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    adapter_with_copy(&mut adapter, &mut layer);
    layer.bound(&mut adapter).unmerge().unwrap();
}

fn adapter_with_copy(adapter: &mut Adapter, layer: &mut Layer) {
    let mut copy = layer.weights.clone();
    let shape = layer.shape;
    let mut outer = layer.bound(adapter);
    let mut inner = outer.bind([TensorViewMut::new(&mut copy, shape).unwrap()]).unwrap();
    inner.unmerge().unwrap();
    inner.merge().unwrap();
    drop(inner);
    refused(outer.unmerge(), Status::InvalidState, "bound");
}

#[test]
fn weights_can_be_read_and_written_on_loan() {
    let context = cpu();
    let mut layer = Layer::new(75, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    let trained = layer.weights.clone();
    let index = adapter.mask("w").unwrap()[0] as usize;
    let mut bound = layer.bound(&mut adapter);
    assert_eq!(bound.weights::<f32>("w").unwrap(), trained);
    bound.weights_mut::<f32>(0).unwrap()[index] += 1.0;
    refused(bound.unmerge(), Status::InvalidState, "changed behind the adapter");
    bound.weights_mut::<f32>(0).unwrap()[index] = trained[index];
    bound.unmerge().unwrap();
    refused(bound.weights::<i64>("w"), Status::InvalidArgument, "int64");
    refused(bound.weights::<f32>(1), Status::InvalidArgument, "below 1; got 1");
}

#[test]
fn raw_bindings_stay_until_they_are_unbound() {
    let context = cpu();
    let mut layer = Layer::new(76, [6, 4]);
    let original = layer.weights.clone();
    let mut adapter = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let raw = RawTensor::new(layer.weights.as_mut_ptr().cast(), DataType::Float32, layer.shape).unwrap();
    // SAFETY: nobody else uses the weights while a call runs, and they outlive the adapter's use of them.
    unsafe { adapter.bind_raw("w", &raw) }.unwrap();
    adapter.select().unwrap();
    adapter.accumulate("w", &layer.gradient()).unwrap();
    adapter.step(Hyperparameters::new()).unwrap();
    assert_ne!(bits(&layer.weights), bits(&original));
    adapter.unmerge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
    let (x, mut y, mut dx) = ([0.0_f32; 4], [1.0_f32; 6], [1.0_f32; 4]);
    let mut out = TensorViewMut::new(&mut y, [1, 6]).unwrap();
    adapter.linear_forward("w", LinearOptions::new(), &TensorView::new(&x, [1, 4]).unwrap(), &mut out).unwrap();
    let mut out = TensorViewMut::new(&mut dx, [1, 4]).unwrap();
    adapter.linear_backward("w", LinearOptions::new(), &TensorView::new(&y, [1, 6]).unwrap(), &mut out).unwrap();
    assert_eq!((y, dx), ([0.0; 6], [0.0; 4])); // of zeros
    adapter.attach().unwrap();
    assert_ne!(bits(&layer.weights), bits(&original));
    adapter.unmerge().unwrap();
    adapter.unbind("w").unwrap();
    refused(adapter.merge(), Status::InvalidState, "bound");
}

#[test]
fn a_raw_binding_replaces_a_forgotten_loan() {
    let context = cpu();
    let mut layer = Layer::new(77, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    std::mem::forget(layer.bound(&mut adapter));
    let raw = RawTensor::new(layer.weights.as_mut_ptr().cast(), DataType::Float32, layer.shape).unwrap();
    // SAFETY: nobody else uses the weights while a call runs, and they outlive the adapter's use of them.
    unsafe { adapter.bind_raw(0, &raw) }.unwrap();
    adapter.unmerge().unwrap();
}

#[test]
fn wrong_weights_are_refused_and_none_is_bound() {
    let context = cpu();
    let mut layer = Layer::new(78, [6, 4]);
    let mut adapter = selected(&context, &mut layer);
    refused(adapter.bind([]), Status::InvalidArgument, "1 parameters; got 0");
    let mut other = vec![0.0_f32; 24];
    refused(
        adapter.bind([TensorViewMut::new(&mut other, [4, 6]).unwrap()]),
        Status::InvalidArgument,
        "'w' must have shape [6, 4]; got [4, 6]",
    );
    refused(
        adapter.bind([TensorViewMut::new(&mut other, [6, 4]).unwrap().with_strides([1, 6]).unwrap()]),
        Status::InvalidArgument,
        "contiguous",
    );
    let mut integers = vec![0_i64; 24];
    refused(adapter.bind([TensorViewMut::new(&mut integers, [6, 4]).unwrap()]), Status::InvalidArgument, "'w'");
    refused(adapter.unmerge(), Status::InvalidState, "bound");
    refused(adapter.unbind(3), Status::InvalidArgument, "3");
    adapter.bind(view(&mut layer)).unwrap().unmerge().unwrap();
}

#[test]
fn two_adapters_cannot_be_merged_into_the_same_weights() {
    let context = cpu();
    let mut layer = Layer::new(79, [6, 4]);
    let mut first = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let mut second = builder(&context, &layer).selection(Selection::Magnitude).budget(5).build().unwrap();
    let raw = RawTensor::new(layer.weights.as_mut_ptr().cast(), DataType::Float32, layer.shape).unwrap();
    // SAFETY: one call runs at a time, and the weights outlive both adapters.
    unsafe {
        first.bind_raw(0, &raw).unwrap();
        second.bind_raw(0, &raw).unwrap();
    }
    first.select().unwrap();
    refused(second.select(), Status::InvalidState, "'w'");
    first.unmerge().unwrap();
    second.select().unwrap();
}
