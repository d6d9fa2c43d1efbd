//! Bad input: each is refused with words that name it, and leaves all as it was.

use crate::host::*;
use speft::*;

/// What a builder's options are refused with.
#[track_caller]
fn refused_options(set: impl FnOnce(AdapterBuilder<'_>) -> AdapterBuilder<'_>, words: &str) {
    let context = cpu();
    let layer = Layer::new(110, [6, 4]);
    refused(set(builder(&context, &layer)).build(), Status::InvalidArgument, words);
}

#[track_caller]
fn refused_schedule(schedule: Schedule, words: &str) {
    refused_options(|builder| builder.density(0.2).selection(Selection::SpielAg).schedule(schedule), words);
}

#[test]
fn options() {
    refused_options(|builder| builder, "density");
    refused_options(|builder| builder.density(0.0), "density must be in (0, 1]; got 0");
    refused_options(|builder| builder.density(1.5), "1.5");
    refused_options(|builder| builder.density(f64::NAN), "nan");
    refused_options(|builder| builder.budget(0), "budget must be at least 1");
    refused_options(|builder| builder.budget(25), "24");
    refused_options(|builder| builder.budget(u64::MAX), "below 2^63");
    refused_options(|builder| builder.budget(3).density(0.5), "density");
    refused_options(|builder| builder.rank(0), "rank must be at least 1");
    refused_options(|builder| builder.rank(3), "rank 3");
    refused_options(|builder| builder.density(0.5).model_scalars(0), "model_scalars");
    refused_options(|builder| builder.density(0.5).model_scalars(50), "50");
    refused_options(|builder| builder.density(0.5).approximation_rank(0), "approximation_rank");
    refused_options(|builder| builder.density(0.5).selection(Selection::ScoreFunction), "score");
    refused_schedule(Schedule::new().rate(0.0), "rate must be in (0, 1]; got 0");
    refused_schedule(Schedule::new().rate(1.5), "1.5");
    refused_schedule(Schedule::new().window(0), "window must be at least 1");
    refused_schedule(Schedule::new().window(21), "21");
    refused_schedule(Schedule::new().candidates(2), "candidates");
    refused_schedule(Schedule::new().curve(Rate::Linear), "total_steps");
    refused_schedule(Schedule::default().settled_limit(0), "settled_limit must be at least 1");
    refused_options(|builder| builder.density(0.2).selection(Selection::SpielMa).optimizer(Optimizer::AdamW), "SM3");
}

#[test]
fn parameters() {
    let context = cpu();
    let refuse = |parameters: Vec<Parameter>, words: &str| {
        let made = Adapter::builder(&context).parameters(parameters).density(0.5).build();
        refused(made, Status::InvalidArgument, words);
    };
    let declare = |name: &str, shape: &[usize], data_type| Parameter::sparse(name, shape, data_type);
    refuse(vec![], "count must be 1 or more; got 0");
    refuse(vec![declare("w", &[2], DataType::Float32), declare("w", &[3], DataType::Float32)], "'w'");
    refuse(vec![declare("w", &[0, 4], DataType::Float32)], "scalar");
    refuse(vec![declare("w", &[4], DataType::Int64)], "'w'");
    refuse(vec![declare("", &[3], DataType::Float32)], "name");
    refuse(vec![declare("a\0b", &[3], DataType::Float32)], "name must have no NUL");
    refuse(vec![declare("w", &[usize::MAX], DataType::Float32)], "shape must be below 2^63");
}

#[test]
fn tensors() {
    refused(TensorView::new(&[0.0_f32; 5], [2, 3]), Status::InvalidArgument, "[2, 3]");
    refused(TensorView::new(&[0.0_f32; 5], [usize::MAX, 2]), Status::InvalidArgument, "got 5");
    refused(TensorViewMut::new(&mut [0.0_f32; 5], [4]), Status::InvalidArgument, "got 5");
    let values = [1.0_f32, 2.0];
    refused(TensorView::from(&values[..]).as_slice::<i64>(), Status::InvalidArgument, "int64");
    refused(TensorView::from(&values[..]).with_strides([1, 2]), Status::InvalidArgument, "strides");
    refused(TensorView::from(&values[..]).reinterpret(DataType::Int64), Status::InvalidArgument, "sizes differ");
    let backwards = TensorView::from(&values[..]).with_strides([-1]).unwrap();
    refused(backwards.as_slice::<f32>(), Status::InvalidArgument, "contiguous");
    let raw = RawTensor::new(0x1000 as *mut _, DataType::Float32, [2]).unwrap().on(Device::Cuda(1));
    // SAFETY: it is never read.
    let elsewhere = unsafe { TensorView::from_raw(raw) };
    refused(elsewhere.as_slice::<f32>(), Status::InvalidArgument, "host memory");
    let halves = [0x3f80_u16, 0x4000];
    let view = TensorView::from(&halves[..]).reinterpret(DataType::BFloat16).unwrap();
    assert_eq!(
        view.as_slice::<speft::half::bf16>().unwrap(),
        [speft::half::bf16::from_f32(1.0), speft::half::bf16::from_f32(2.0)]
    );
    assert!(TensorView::from(&[] as &[f32]).as_slice::<f32>().unwrap().is_empty());
}

#[test]
fn gradients() {
    let context = cpu();
    let mut layer = Layer::new(111, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
    train(&mut adapter, &mut layer, 0);
    let mut refuse = |gradient: Gradient<'_>, words: &str| {
        refused(adapter.accumulate("w", &gradient), Status::InvalidArgument, words);
        assert_eq!(adapter.gradient("w").unwrap().as_slice::<f32>().unwrap(), [0.0; 5]);
    };
    let values = numbers(112, 24);
    let integers = [0_i64; 24];
    let view = |rows: usize, columns: usize| TensorView::new(&values[..rows * columns], [rows, columns]).unwrap();
    refuse(Gradient::dense(view(4, 6)), "dense");
    refuse(Gradient::dense(TensorView::new(&integers, [6, 4]).unwrap()), "int64");
    refuse(Gradient::dense(view(6, 4).with_strides([1, 6]).unwrap()), "contiguous");
    refuse(Gradient::dense(view(6, 4)).scale(f64::NAN), "scale");
    refuse(Gradient::dense(view(6, 4)).scale(0.0), "scale must not be 0");
    refuse(Gradient::activations(view(3, 4), view(2, 6)), "dy");
    refuse(Gradient::inputs(view(3, 4)), "dy");
    refuse(Gradient::values(values[..4].into()), "values");
    refused(adapter.step(StepOptions::new().gradient_scale(0.0)), Status::InvalidArgument, "gradient_scale");
    let elsewhere = RawTensor::new(0x1000 as *mut _, DataType::Float32, [6, 4]).unwrap().on(Device::Other(9, 0));
    // SAFETY: the library refuses the device, and does not read it.
    let elsewhere = unsafe { TensorView::from_raw(elsewhere) };
    refused(adapter.accumulate("w", &Gradient::dense(elsewhere)), Status::InvalidArgument, "device");
}

#[test]
fn parameters_that_are_not_there() {
    let context = cpu();
    let mut layer = Layer::new(113, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
    train(&mut adapter, &mut layer, 0);
    refused(adapter.accumulate("v", &layer.gradient()), Status::InvalidArgument, "one of (w); got \"v\"");
    refused(adapter.accumulate(String::from("v"), &layer.gradient()), Status::InvalidArgument, "\"v\"");
    refused(adapter.accumulate(1, &layer.gradient()), Status::InvalidArgument, "1");
    refused(adapter.mask(usize::MAX), Status::InvalidArgument, "parameter must be below 2^63");
    adapter.accumulate("w", &layer.gradient()).unwrap();
}

#[test]
fn calls_at_the_wrong_time() {
    let context = cpu();
    let mut layer = Layer::new(114, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
    let state = Status::InvalidState;
    refused(layer.bound(&mut adapter).step(Hyperparameters::new()), state, "select");
    refused(layer.bound(&mut adapter).merge(), state, "select");
    refused(layer.bound(&mut adapter).attach(), state, "select");
    refused(layer.bound(&mut adapter).unmerge(), state, "select");
    refused(layer.bound(&mut adapter).select(), state, "observ");
    refused(layer.bound(&mut adapter).reselect(), state, "select");
    refused(adapter.mask("w"), state, "select");
    refused(adapter.ages("w"), state, "select");
    refused(adapter.deltas("w").map(|_| ()), state, "select");
    refused(adapter.gradient("w").map(|_| ()), state, "select");
    refused(adapter.accumulate("w", &layer.gradient()), state, "select");
    refused(adapter.clip_gradient(1.0), state, "select");
    refused(adapter.save("never-written"), state, "select");
    refused(adapter.finish_observation(1.0), state, "no observation is open");
    train(&mut adapter, &mut layer, 0);
    refused(layer.bound(&mut adapter).select(), state, "select");
    refused(adapter.begin_observation(1.0), state, "select");
    refused(adapter.observe("w", &layer.gradient()), state, "select");
    refused(adapter.clear_observations(), state, "select");
    refused(adapter.set_mask("w", &[1]), state, "select");
    let scores = TensorView::new(&layer.slopes, layer.shape).unwrap();
    refused(adapter.set_scores("w", &scores), state, "select");
    refused(adapter.set_reference("w", &scores), state, "select");
}

#[test]
fn masks_scores_and_references() {
    let context = cpu();
    let layer = Layer::new(115, [6, 4]);
    let mut adapter = builder(&context, &layer).selection(Selection::Mask).build().unwrap();
    for indices in [&[3, 2][..], &[2, 2], &[-1], &[24]] {
        refused(adapter.set_mask("w", indices), Status::InvalidArgument, "'w'");
    }
    let wrong = TensorView::new(&layer.slopes, [4, 6]).unwrap();
    let mut adapter = builder(&context, &layer).selection(Selection::Scores).budget(1).build().unwrap();
    refused(adapter.set_scores("w", &wrong), Status::InvalidArgument, "'w'");
    let mut adapter = builder(&context, &layer).selection(Selection::WeightChange).budget(1).build().unwrap();
    refused(adapter.set_reference("w", &wrong), Status::InvalidArgument, "'w'");
}
