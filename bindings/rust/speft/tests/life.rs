//! The whole life of an adapter.

mod host;

use host::*;
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
    assert!(state.selected && state.merged && !state.reselection_due);
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
    assert!(!adapter.state().unwrap().merged);
    layer.bound(&mut adapter).merge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&trained));
}
