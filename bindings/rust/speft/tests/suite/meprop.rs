//! Masks of each step's own gradient, and the lazy AdamW that goes with them: MeProp's.

use std::ops::ControlFlow;

use crate::host::*;
use speft::*;

const SHAPE: [usize; 2] = [6, 4];
const SIZE: usize = 24;
const BUDGET: usize = 3;

fn hyperparameters() -> Hyperparameters {
    Hyperparameters::new().learning_rate(0.125)
}

/// Another gradient for each step.
fn slopes(step: u64) -> Vec<f32> {
    numbers(400 + step, SIZE)
}

fn dense(values: &[f32]) -> Gradient<'_> {
    Gradient::dense(TensorView::new(values, SHAPE).unwrap())
}

fn selected(
    context: &Context,
    layer: &mut Layer,
    set: impl FnOnce(AdapterBuilder<'_>) -> AdapterBuilder<'_>,
) -> Adapter {
    let made = builder(context, layer).selection(Selection::Meprop);
    let mut adapter = set(made).build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    adapter
}

fn take_step(adapter: &mut Adapter, layer: &mut Layer, step: u64) -> Reselection {
    adapter.accumulate("w", &dense(&slopes(step))).unwrap();
    let mut bound = layer.bound(adapter);
    let reselection = bound.reselect().unwrap().unwrap();
    bound.step(hyperparameters()).unwrap();
    reselection
}

#[test]
fn all_of_each_gradient_is_adamw_to_the_bit() {
    let context = cpu();
    for optimizer in [Optimizer::AdamW, Optimizer::Adam] {
        let (mut layer, mut other) = (Layer::new(410, SHAPE), Layer::new(410, SHAPE));
        let mut adapter = selected(&context, &mut layer, |builder| builder.density(1.0).optimizer(optimizer));
        let options = OptimizerOptions::new(optimizer).age(Age::PerWeight);
        let made = builder(&context, &other).selection(Selection::Mask).optimizer(options);
        let mut ordinary = made.build().unwrap();
        ordinary.set_mask("w", &(0..SIZE as i64).collect::<Vec<_>>()).unwrap();
        other.bound(&mut ordinary).select().unwrap();
        for step in 0..4 {
            take_step(&mut adapter, &mut layer, step);
            ordinary.accumulate("w", &dense(&slopes(step))).unwrap();
            other.bound(&mut ordinary).step(hyperparameters()).unwrap();
            assert_eq!(bits(&layer.weights), bits(&other.weights), "{optimizer} {step}");
        }
        let [one, another] = [&adapter, &ordinary].map(|made| bits(made.deltas("w").unwrap().as_slice().unwrap()));
        assert_eq!(one, another);
        assert_eq!(adapter.ages("w").unwrap(), [4; SIZE]);
    }
}

#[test]
fn a_step_moves_the_largest_of_its_gradient_alone() {
    let context = cpu();
    let mut layer = Layer::new(411, SHAPE);
    let original = layer.weights.clone();
    let schedule = Schedule::new().track_moves(true);
    let mut adapter = selected(&context, &mut layer, |builder| builder.budget(BUDGET as u64).schedule(schedule));
    let state = adapter.state().unwrap();
    assert!(state.selected && state.merged && state.attached && !state.reselection_due);
    assert_eq!((state.selected_scalars, state.next_reselection), (0, None));
    assert_eq!(layer.bound(&mut adapter).reselect().unwrap(), None); // no gradient has arrived

    let mut truth = LazyAdamW::default();
    for step in 0..5 {
        let (slopes, before, weights) = (slopes(step), truth.mask(), layer.weights.clone());
        let chosen = truth.step(&Matrix::new(&slopes, SHAPE).entries, BUDGET);
        let shape = layer.shape;
        let mut bound = adapter.bind([TensorViewMut::new(&mut layer.weights, shape).unwrap()]).unwrap();
        // As two halves of a batch.
        bound.accumulate("w", &dense(&slopes).scale(0.25)).unwrap();
        bound.accumulate("w", &dense(&slopes).scale(0.75)).unwrap();
        assert!(bound.state().unwrap().reselection_due);
        let reselection = bound.reselect().unwrap().unwrap();
        let grown: Vec<i64> = truth.mask().into_iter().filter(|index| !before.contains(index)).collect();
        assert_eq!((reselection.step, reselection.dropped), (step as i64, 0));
        assert_eq!((reselection.grown, reselection.settled), (grown.len() as i64, 0));
        assert_eq!(bound.moved("w", Moved::Grown).unwrap(), grown);
        assert_eq!(bound.mask("w").unwrap(), truth.mask());
        let gradient = bound.gradient("w").unwrap().as_slice::<f32>().unwrap().to_vec();
        for (index, value) in truth.mask().into_iter().zip(gradient) {
            let expected = if chosen.contains(&index) { slopes[index as usize] } else { 0.0 };
            assert!((value - expected).abs() <= 2.0 * f32::EPSILON * expected.abs()); // two products and their sum
        }
        bound.step(hyperparameters()).unwrap();
        assert_eq!(bound.ages("w").unwrap(), truth.ages());
        drop(bound);
        let moved = (0..SIZE).filter(|&index| layer.weights[index] != weights[index]).map(|index| index as i64);
        assert_eq!(moved.collect::<Vec<_>>(), chosen, "{step}");
    }
    // Weights below 2 and deltas below 1, each rounded to float32 a few times in five steps.
    Matrix::new(&original, SHAPE).plus(&truth.deltas(SHAPE)).assert_close(&layer.weights, 2e-6);
    layer.bound(&mut adapter).unmerge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
}

#[test]
fn of_more_than_the_limit_the_least_deltas_leave_the_mask() {
    const LIMIT: usize = 4;
    let context = cpu();
    let mut layer = Layer::new(412, SHAPE);
    let original = layer.weights.clone();
    let schedule = Schedule::new().settled_limit(LIMIT as u64).track_moves(true);
    let mut adapter = selected(&context, &mut layer, |builder| builder.budget(BUDGET as u64).schedule(schedule));
    let mut left = 0;
    for step in 0..6 {
        let before: Vec<(i64, f32)> = {
            let deltas = adapter.deltas("w").unwrap();
            adapter.mask("w").unwrap().into_iter().zip(deltas.as_slice::<f32>().unwrap().iter().copied()).collect()
        };
        let slopes = slopes(step);
        let chosen = largest(BUDGET, |index| slopes[index].abs(), SIZE);
        let reselection = take_step(&mut adapter, &mut layer, step);
        let rest: Vec<(i64, f32)> = before.into_iter().filter(|(index, _)| !chosen.contains(index)).collect();
        let over = rest.len().saturating_sub(LIMIT);
        let least = largest(over, |at| -rest[at].1.abs(), rest.len());
        let expected: Vec<i64> = least.into_iter().map(|at| rest[at as usize].0).collect();
        assert_eq!(adapter.moved("w", Moved::Dropped).unwrap(), expected, "{step}");
        assert_eq!(reselection.dropped, over as i64);
        for index in expected {
            assert_eq!(layer.weights[index as usize].to_bits(), original[index as usize].to_bits());
        }
        left += over;
    }
    assert!(left > 0, "six steps of three select more than seven");
}

#[test]
fn a_threshold_lets_a_step_select_fewer() {
    const THRESHOLD: f32 = 0.875;
    let context = cpu();
    let mut layer = Layer::new(419, SHAPE);
    let mut adapter =
        selected(&context, &mut layer, |builder| builder.budget(BUDGET as u64).threshold(THRESHOLD.into()));
    let (mut expected, mut fewer) = (std::collections::BTreeSet::new(), 0);
    for step in 0..5 {
        let mut slopes = slopes(step);
        if step == 4 {
            slopes.iter_mut().for_each(|slope| *slope *= 0.5); // none is left
        }
        let mut chosen = largest(BUDGET, |index| slopes[index].abs(), SIZE);
        chosen.retain(|&index| slopes[index as usize].abs() >= THRESHOLD);
        fewer += BUDGET - chosen.len();
        adapter.accumulate("w", &dense(&slopes)).unwrap();
        let before = layer.weights.clone();
        let mut bound = layer.bound(&mut adapter);
        bound.reselect().unwrap().unwrap();
        bound.step(hyperparameters()).unwrap();
        drop(bound);
        let moved = (0..SIZE).filter(|&index| layer.weights[index] != before[index]).map(|index| index as i64);
        assert_eq!(moved.collect::<Vec<_>>(), chosen, "{step}");
        expected.extend(chosen);
        assert_eq!(adapter.mask("w").unwrap(), expected.iter().copied().collect::<Vec<_>>());
    }
    assert!(fewer > BUDGET && expected.len() > 1, "some steps select fewer, others some");
}

#[test]
fn chooses_once_where_the_mask_shall_stay() {
    let context = cpu();
    let mut layer = Layer::new(413, SHAPE);
    let made = builder(&context, &layer)
        .selection(Selection::Meprop)
        .budget(BUDGET as u64)
        .schedule(Schedule::new().curve(Rate::None))
        .optimizer(Optimizer::Sgd);
    let mut adapter = made.build().unwrap();
    train(&mut adapter, &mut layer, 1);
    let expected = largest(BUDGET, |index| layer.slopes[index].abs(), SIZE);
    assert_eq!(adapter.mask("w").unwrap(), expected);
    adapter.accumulate("w", &dense(&slopes(0))).unwrap();
    assert_eq!(layer.bound(&mut adapter).reselect().unwrap(), None);
    layer.bound(&mut adapter).step(hyperparameters()).unwrap();
    assert_eq!(adapter.mask("w").unwrap(), expected);
}

#[test]
fn refuses_what_comes_before_the_reselection_or_after_it() {
    let context = cpu();
    let mut layer = Layer::new(414, SHAPE);
    let original = layer.weights.clone();
    let mut adapter = selected(&context, &mut layer, |builder| builder.budget(BUDGET as u64));
    let (slopes, values, state) = (slopes(0), [0.5_f32; BUDGET], Status::InvalidState);
    refused(
        adapter.accumulate("w", &Gradient::values((&values[..0]).into())),
        Status::InvalidArgument,
        "must be DENSE or ACTIVATIONS",
    );
    adapter.accumulate("w", &dense(&slopes)).unwrap();
    refused(adapter.gradient("w").map(|_| ()), state, "speft_reselect before speft_get_gradient");
    refused(adapter.clip_gradient(1.0), state, "speft_reselect before speft_clip_gradient");
    refused(layer.bound(&mut adapter).step(hyperparameters()), state, "speft_reselect before speft_step");
    refused(adapter.save_checkpoint_with(&mut Vec::new(), SaveOptions::new()), state, "speft_reselect");
    refused(adapter.reselect(), state, "bound");
    layer.bound(&mut adapter).unmerge().unwrap();
    refused(layer.bound(&mut adapter).reselect(), state, "unmerged");
    layer.bound(&mut adapter).merge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
    assert!(adapter.mask("w").unwrap().is_empty());
    layer.bound(&mut adapter).reselect().unwrap().unwrap();
    refused(adapter.accumulate("w", &dense(&slopes)), state, "selected already");
    adapter.clip_gradient(f64::INFINITY).unwrap();
    adapter.clear_gradients().unwrap();
    adapter.accumulate("w", &dense(&[f32::NAN; SIZE])).unwrap();
    refused(layer.bound(&mut adapter).reselect(), Status::InvalidArgument, "NaN");
}

#[test]
fn refuses_options_of_other_methods() {
    let context = cpu();
    let layer = Layer::new(415, SHAPE);
    let made = || builder(&context, &layer).selection(Selection::Meprop).budget(BUDGET as u64);
    let refuse = |builder: AdapterBuilder<'_>, words| refused(builder.build(), Status::InvalidArgument, words);
    refuse(made().optimizer(Optimizer::Sgd), "lazy");
    refuse(made().optimizer(OptimizerOptions::new(Optimizer::Adam).state(State::Blocks8)), "8 bits");
    refuse(made().schedule(Schedule::new().curve(Rate::Linear).total_steps(9)), "at each step");
    refuse(made().schedule(Schedule::new().reselect_every(2)), "at each step");
    refuse(made().schedule(Schedule::new().keep_moments(true)), "keep_moments");
    refuse(made().threshold(0.0), "threshold");
    refuse(made().threshold(-1.0), "threshold");
    refuse(made().threshold(0.5).selection(Selection::Magnitude), "threshold");
    made().schedule(Schedule::new().reselect_every(1)).build().unwrap();
}

#[test]
fn resumes_from_a_checkpoint_as_if_it_had_never_stopped() {
    let context = cpu();
    let mut layer = Layer::new(416, SHAPE);
    let mut adapter = selected(&context, &mut layer, |builder| builder.budget(BUDGET as u64));
    take_step(&mut adapter, &mut layer, 0);
    adapter.accumulate("w", &dense(&slopes(1))).unwrap();
    layer.bound(&mut adapter).reselect().unwrap().unwrap();
    let mut file = Vec::new();
    adapter.save_checkpoint_with(&mut file, SaveOptions::new()).unwrap();
    let mut other = Layer { weights: layer.weights.clone(), ..Layer::new(416, SHAPE) };
    let mut resumed = Adapter::load_checkpoint(&context, Source::Bytes(&file)).unwrap();
    other.bound(&mut resumed).merge().unwrap();
    for (adapter, layer) in [(&mut adapter, &mut layer), (&mut resumed, &mut other)] {
        layer.bound(adapter).step(hyperparameters()).unwrap();
        take_step(adapter, layer, 2);
        take_step(adapter, layer, 3);
    }
    assert_eq!(bits(&other.weights), bits(&layer.weights));
    assert_eq!(resumed.mask("w").unwrap(), adapter.mask("w").unwrap());
    assert_eq!(resumed.ages("w").unwrap(), adapter.ages("w").unwrap());
}

#[test]
fn dense_parameters_go_with_it_and_reselections_report() {
    let context = cpu();
    let (mut body, mut head) = (Layer::new(417, SHAPE), numbers(418, 3));
    let start = head.clone();
    let mut adapter = builder(&context, &body)
        .parameter(Parameter::dense("head", [3], DataType::Float32))
        .selection(Selection::Meprop)
        .budget(BUDGET as u64)
        .build()
        .unwrap();
    let (slopes, of_head) = (slopes(0), [1.0_f32, -1.0, 1.0]);
    let weights = [TensorViewMut::new(&mut body.weights, SHAPE).unwrap(), head.as_mut_slice().into()];
    let mut bound = adapter.bind(weights).unwrap();
    bound.select().unwrap();
    bound.accumulate("head", &Gradient::dense((&of_head[..]).into())).unwrap();
    bound.accumulate("w", &dense(&slopes)).unwrap();
    bound.reselect_with(&mut |_| ControlFlow::Continue(())).unwrap().unwrap();
    assert_eq!(bound.gradient("head").unwrap().as_slice::<f32>().unwrap(), of_head);
    bound.step(hyperparameters()).unwrap();
    assert_eq!(bound.state().unwrap().trained_scalars, 3 + BUDGET as i64);
    drop(bound);
    for (moved, (from, slope)) in head.iter().zip(start.iter().zip(of_head)) {
        assert!((moved - (from - 0.125 * slope)).abs() < 1e-6); // AdamW's first step, on values below 2
    }
}
