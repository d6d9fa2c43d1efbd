//! The whole life of an adapter.

use crate::host::*;
use speft::*;

#[test]
fn an_adapter_lives_from_observation_to_unmerge() {
    let context = cpu();
    let mut layer = Layer::new(1, [6, 4]);
    let original = layer.weights.clone();
    let mut adapter = builder(&context, &layer).selection(Selection::Snip).budget(5).build().unwrap();

    adapter.begin_observation(1.0).unwrap();
    adapter.observe("w", &layer.gradient()).unwrap();
    adapter.finish_observation(0.0).unwrap();
    let expected = largest(5, |index| (layer.slopes[index] * layer.weights[index]).abs(), 24);
    {
        let shape = layer.shape;
        let gradient = Gradient::dense(TensorView::new(&layer.slopes, shape).unwrap());
        let mut bound = adapter.bind([TensorViewMut::new(&mut layer.weights, shape).unwrap()]).unwrap();
        bound.select().unwrap();
        for _ in 0..3 {
            bound.accumulate("w", &gradient).unwrap();
            bound.step(Hyperparameters::new().learning_rate(0.125)).unwrap();
        }
        assert_eq!(bound.mask("w").unwrap(), expected);
    }
    let state = adapter.state().unwrap();
    assert!(state.selected && state.merged && state.attached && !state.reselection_due);
    assert_eq!((state.steps, state.observations, state.selection), (3, 1, Some(Selection::Snip)));
    assert_eq!((state.selected_scalars, state.trained_scalars, state.targeted_scalars), (5, 5, 24));
    assert_eq!((state.settled_scalars, state.next_reselection), (0, None));

    let deltas = adapter.deltas("w").unwrap();
    let deltas = deltas.as_slice::<f32>().unwrap();
    for (&index, &delta) in expected.iter().zip(deltas) {
        assert!(delta != 0.0);
        assert_eq!(layer.weights[index as usize], original[index as usize] + delta);
    }
    let moved = (0..24).filter(|&index| layer.weights[index] != original[index]).map(|index| index as i64);
    assert_eq!(moved.collect::<Vec<_>>(), expected);

    let trained = layer.weights.clone();
    layer.bound(&mut adapter).unmerge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
    let state = adapter.state().unwrap();
    assert!(!state.merged && !state.attached);
    layer.bound(&mut adapter).merge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&trained));
    layer.bound(&mut adapter).unmerge().unwrap();
    layer.bound(&mut adapter).attach().unwrap(); // which is to merge, where nothing is in a basis
    assert_eq!(bits(&layer.weights), bits(&trained));
    let state = adapter.state().unwrap();
    assert!(state.merged && state.attached);
}

#[test]
fn dense_parameters_train_in_full_beside_sparse_ones() {
    let context = cpu();
    let (mut body, mut head) = (Layer::new(2, [4, 4]), Layer::new(3, [2, 3]));
    let original = head.weights.clone();
    let mut adapter = Adapter::builder(&context)
        .selection(Selection::Magnitude)
        .density(0.25)
        .parameter(Parameter::sparse("body", [4, 4], DataType::Float32))
        .parameter(Parameter::dense("head", [2, 3], DataType::Float32).group(1))
        .optimizer(Optimizer::Sgd)
        .build()
        .unwrap();
    let slopes = numbers(9, 6);
    {
        let mut bound = adapter
            .bind([
                TensorViewMut::new(&mut body.weights, [4, 4]).unwrap(),
                TensorViewMut::new(&mut head.weights, [2, 3]).unwrap(),
            ])
            .unwrap();
        bound.select().unwrap();
        bound.accumulate("head", &Gradient::dense(TensorView::new(&slopes, [2, 3]).unwrap())).unwrap();
        refused(bound.step(StepOptions::new()), Status::InvalidState, "'body'");
        let groups = StepOptions::new()
            .group(Hyperparameters::new())
            .group(Hyperparameters::default().learning_rate(0.5))
            .allow_missing(true);
        bound.step(&groups).unwrap();
        assert_eq!(bound.selected_count("head").unwrap(), 6);
        assert_eq!(bound.state().unwrap().trained_scalars, 10);
    }
    for index in 0..6 {
        assert_eq!(head.weights[index], original[index] - 0.5 * slopes[index]); // half of a float32 is exact
    }
    assert_eq!(adapter.parameters()[1].role(), Role::Dense);
    assert_eq!(adapter.deltas("head").unwrap().as_slice::<f32>().unwrap(), head.weights);
}

#[test]
fn gradients_add_up_and_are_clipped_kept_scaled_and_cleared() {
    let context = cpu();
    let mut layer = Layer::new(4, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(5).optimizer(Optimizer::Sgd).build().unwrap();
    train(&mut adapter, &mut layer, 0);
    let mask = adapter.mask("w").unwrap();
    let slopes: Vec<f32> = mask.iter().map(|&index| layer.slopes[index as usize]).collect();

    adapter.accumulate("w", &layer.gradient()).unwrap();
    adapter.accumulate("w", &Gradient::values(slopes.as_slice().into()).scale(2.0)).unwrap();
    let expected: Vec<f32> = slopes.iter().map(|slope| slope + 2.0 * slope).collect();
    assert_eq!(adapter.gradient("w").unwrap().as_slice::<f32>().unwrap(), expected);

    let norm = expected.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let measured = adapter.clip_gradient(f64::INFINITY).unwrap();
    assert!((measured - norm).abs() < 1e-12 * norm); // both in float64, summed in another order at most
    assert_eq!(adapter.clip_gradient(1.0).unwrap(), measured);
    let factor = (1.0 / (norm + 1e-6)) as f32;
    for (value, expected) in adapter.gradient("w").unwrap().as_slice::<f32>().unwrap().iter().zip(&expected) {
        assert!((value - expected * factor).abs() <= f32::EPSILON * expected.abs()); // the factor is rounded once
    }

    adapter.gradient("w").unwrap().as_mut_slice::<f32>().unwrap().fill(1.0);
    let before = layer.weights.clone();
    let options = StepOptions::new()
        .group(Hyperparameters::new().learning_rate(0.5).momentum(0.0))
        .keep_gradient(true)
        .gradient_scale(0.25);
    layer.bound(&mut adapter).step(&options).unwrap();
    for &index in &mask {
        assert!((layer.weights[index as usize] - (before[index as usize] - 0.125)).abs() < 1e-6);
    }
    assert_eq!(adapter.gradient("w").unwrap().as_slice::<f32>().unwrap(), [1.0; 5]);
    adapter.clear_gradient("w").unwrap();
    assert_eq!(adapter.gradient("w").unwrap().as_slice::<f32>().unwrap(), [0.0; 5]);
    adapter.accumulate("w", &layer.gradient()).unwrap();
    adapter.clear_gradients().unwrap();
    assert_eq!(adapter.gradient("w").unwrap().as_slice::<f32>().unwrap(), [0.0; 5]);
    assert_eq!(adapter.ages("w").unwrap(), [1; 5]);
}

#[test]
fn adamw_moves_as_float64_says() {
    let context = cpu();
    let mut layer = Layer::new(5, [6, 4]);
    let original = layer.weights.clone();
    let mut adapter = builder(&context, &layer).budget(24).build().unwrap();
    train(&mut adapter, &mut layer, 0);
    let (rate, beta1, beta2, epsilon, decay) = (0.01, 0.9, 0.99, 1e-8, 0.1);
    let all = Hyperparameters::new()
        .learning_rate(rate)
        .betas(beta1, beta2)
        .epsilon(epsilon)
        .weight_decay(decay)
        .decay(Decay::Original);
    for _ in 0..3 {
        adapter.accumulate("w", &layer.gradient()).unwrap();
        layer.bound(&mut adapter).step(all).unwrap();
    }
    for (index, &start) in original.iter().enumerate() {
        let slope = f64::from(layer.slopes[index]);
        let (mut delta, mut first, mut second) = (0.0, 0.0, 0.0);
        for age in 1..=3 {
            delta -= rate * decay * delta;
            first = beta1 * first + (1.0 - beta1) * slope;
            second = beta2 * second + (1.0 - beta2) * slope * slope;
            let unbiased = second / (1.0 - beta2.powi(age));
            delta -= rate * first / (1.0 - beta1.powi(age)) / (unbiased.sqrt() + epsilon);
        }
        // A delta of 0.03 and a weight below 2, each rounded to float32 a few times.
        let expected = f64::from(start) + delta;
        assert!((f64::from(layer.weights[index]) - expected).abs() < 5e-7, "{index}");
    }
}

#[test]
fn every_optimizer_and_kind_of_state_trains() {
    let context = cpu();
    for &optimizer in Optimizer::ALL {
        for &state in State::ALL {
            let mut layer = Layer::new(6, [6, 4]);
            let original = layer.weights.clone();
            let options = OptimizerOptions::new(optimizer).state(state);
            let mut adapter = builder(&context, &layer).budget(5).optimizer(options).build().unwrap();
            train(&mut adapter, &mut layer, 2);
            for &index in &adapter.mask("w").unwrap() {
                let (index, slope) = (index as usize, layer.slopes[index as usize]);
                assert!((layer.weights[index] - original[index]) * slope < 0.0, "{optimizer} {state}: down the slope");
            }
            layer.bound(&mut adapter).unmerge().unwrap();
            assert_eq!(bits(&layer.weights), bits(&original));
        }
    }
}

#[test]
fn ages_are_kept_for_each_weight_where_wanted() {
    let context = cpu();
    let mut layer = Layer::new(7, [6, 4]);
    let options = OptimizerOptions::new(Optimizer::Adam).age(Age::PerWeight);
    let mut adapter = builder(&context, &layer).budget(3).optimizer(options).build().unwrap();
    train(&mut adapter, &mut layer, 2);
    assert_eq!(adapter.ages("w").unwrap(), [2; 3]);
}

#[test]
fn sixteen_bit_weights_and_deltas() {
    use speft::half::{bf16, f16};
    fn life<T: Element + PartialEq + std::fmt::Debug>(from: impl Fn(f32) -> T) {
        let context = cpu();
        let mut weights: Vec<T> = numbers(8, 24).into_iter().map(&from).collect();
        let slopes: Vec<T> = numbers(9, 24).into_iter().map(&from).collect();
        let original = weights.clone();
        let mut adapter = Adapter::builder(&context)
            .parameter(Parameter::sparse("w", [6, 4], T::DATA_TYPE))
            .selection(Selection::Magnitude)
            .budget(6)
            .delta_type(DeltaType::BFloat16)
            .build()
            .unwrap();
        let gradient = Gradient::dense(TensorView::new(&slopes, [6, 4]).unwrap());
        let mut bound = adapter.bind([TensorViewMut::new(&mut weights, [6, 4]).unwrap()]).unwrap();
        bound.select().unwrap();
        bound.accumulate("w", &gradient).unwrap();
        bound.step(Hyperparameters::new().learning_rate(0.125)).unwrap();
        assert_eq!(bound.deltas("w").unwrap().data_type(), DataType::BFloat16);
        assert_eq!(bound.deltas("w").unwrap().as_slice::<bf16>().unwrap().len(), 6);
        assert!(bound.weights::<T>("w").unwrap() != original);
        let share = bound.rounding_loss("w").unwrap();
        assert!((0.0..0.05).contains(&share), "{share}"); // steps of 1/8 beside weights below 1, 8 bits or more
        assert_eq!(bound.total_rounding_loss().unwrap(), share);
        bound.unmerge().unwrap();
        drop(bound);
        assert_eq!(weights, original);
    }
    life(bf16::from_f32);
    life(f16::from_f32);
}

#[test]
fn activations_are_the_dense_gradient_in_either_layout() {
    let context = cpu();
    let (tokens, inputs, outputs) = (5, 4, 6);
    let (x, dy) = (numbers(20, tokens * inputs), numbers(21, tokens * outputs));
    let product = |out: usize, input: usize| -> f64 {
        (0..tokens).map(|token| f64::from(x[token * inputs + input]) * f64::from(dy[token * outputs + out])).sum()
    };
    for layout in [Layout::OutIn, Layout::InOut] {
        let shape = if layout == Layout::OutIn { [outputs, inputs] } else { [inputs, outputs] };
        let mut layer = Layer::new(22, shape);
        let mut adapter = builder(&context, &layer).selection(Selection::Random).density(1.0).build().unwrap();
        layer.bound(&mut adapter).select().unwrap();
        let x = TensorView::new(&x, [tokens, inputs]).unwrap();
        let dy = TensorView::new(&dy, [tokens, outputs]).unwrap();
        adapter.accumulate(0, &Gradient::activations(x, dy).layout(layout).scale(0.5)).unwrap();
        let gradient = adapter.gradient(0).unwrap();
        for (index, value) in gradient.as_slice::<f32>().unwrap().iter().enumerate() {
            let (row, column) = (index / shape[1], index % shape[1]);
            let expected = 0.5 * if layout == Layout::OutIn { product(row, column) } else { product(column, row) };
            // Five products below 1, each and their sums rounded to float32.
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{layout} {index}");
        }
    }
}

#[test]
fn an_adapter_outlives_its_context_and_moves_to_another_thread() {
    let context = cpu();
    let mut layer = Layer::new(30, [6, 4]);
    let mut adapter = builder(&context, &layer).budget(4).build().unwrap();
    drop(context);
    let steps = std::thread::spawn(move || {
        train(&mut adapter, &mut layer, 2);
        adapter.state().unwrap().steps
    });
    assert_eq!(steps.join().unwrap(), 2);
}

#[test]
fn memory_is_planned_before_an_adapter_is_made() {
    let context = cpu();
    let layer = Layer::new(31, [64, 64]);
    let plan = builder(&context, &layer).density(0.1).plan_memory(0).unwrap();
    assert_eq!(plan.observation - plan.announced_observation, 64 * 64 * 4); // one float32 accumulator
    assert!(plan.training > 0 && plan.selection > 0);
    assert_eq!(plan.reselection, 0);
    let moving = builder(&context, &layer).density(0.1).schedule(Schedule::new().reselect_every(5));
    assert!(moving.plan_memory(16).unwrap().reselection > 0);
    let scored = builder(&context, &layer).density(0.1).score_function(|_| std::ops::ControlFlow::Continue(()));
    assert!(scored.plan_memory(16).unwrap().selection > 0);
    refused(builder(&context, &layer).selection(Selection::Mask).plan_memory(0), Status::InvalidArgument, "mask");
    assert!(plan.products > 0);
    assert_eq!(plan.fitting + plan.merging, 0);
}

#[test]
fn a_memory_plan_counts_a_shared_basis_once() {
    let context = cpu();
    let builder = Adapter::builder(&context)
        .parameter(Parameter::sparse("first", [64, 32], DataType::Float32))
        .parameter(Parameter::sparse("second", [64, 32], DataType::Float32))
        .selection(Selection::Sparsegrad)
        .density(0.1);
    let plan = |bases: &[PlannedBasis]| builder.plan_memory_in_bases(8, bases);
    let shared = plan(&[PlannedBasis::new([0, 1])]).unwrap();
    let own = plan(&[PlannedBasis::new([0]), PlannedBasis::new([1])]).unwrap();
    assert_eq!(own.training - shared.training, 4 * (32 * 32 + 2 * 64 * 64)); // U, V, and V transposed
    assert!(own.fitting > shared.fitting);
    assert!(shared.merging > shared.training);
    let few = PlannedBasis::new([0, 1]).row_directions(8).column_directions(4);
    assert!(plan(&[few]).unwrap().training < shared.training);
    refused(builder.plan_memory(8), Status::InvalidArgument, "'first'");
    refused(plan(&[PlannedBasis::new([0])]), Status::InvalidArgument, "'second'");
    refused(plan(&[PlannedBasis::new([0, 1, 2])]), Status::InvalidArgument, "no parameter 2");
    let twice = [PlannedBasis::new([0, 1]), PlannedBasis::new([1])];
    refused(plan(&twice), Status::InvalidArgument, "parameter 1 has two");
    refused(plan(&[PlannedBasis::new([0, 1]).row_directions(65)]), Status::InvalidArgument, "row_directions");
}
