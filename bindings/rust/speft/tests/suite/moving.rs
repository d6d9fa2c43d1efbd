//! Masks that move while training.

use crate::host::*;
use speft::*;

const SIZE: usize = 24;

fn without(these: &[i64], those: &[i64]) -> Vec<i64> {
    these.iter().copied().filter(|index| !those.contains(index)).collect()
}

#[test]
fn dynamic_masks_choose_again_by_the_weights_as_trained() {
    let context = cpu();
    let mut layer = Layer::new(60, [6, 4]);
    let original = layer.weights.clone();
    let made = builder(&context, &layer)
        .selection(Selection::SmallestMagnitude)
        .budget(5)
        .schedule(Schedule::new().reselect_every(2).track_moves(true).keep_moments(true));
    let mut adapter = made.build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    let before = adapter.mask("w").unwrap();
    assert_eq!(before, largest(5, |index| -original[index].abs(), SIZE));
    assert!(adapter.moved("w", Moved::Grown).unwrap().is_empty());

    step(&mut adapter, &mut layer);
    assert_eq!(layer.bound(&mut adapter).reselect().unwrap(), None);
    step(&mut adapter, &mut layer);
    let state = adapter.state().unwrap();
    assert!(state.reselection_due);
    assert_eq!(state.next_reselection, Some(2));
    adapter.accumulate("w", &layer.gradient()).unwrap();
    refused(layer.bound(&mut adapter).step(Hyperparameters::new()), Status::InvalidState, "reselect");

    let expected = largest(5, |index| -layer.weights[index].abs(), SIZE);
    let (dropped, grown) = (without(&before, &expected), without(&expected, &before));
    assert!(!grown.is_empty(), "steps of 1/8 move the smallest weights away");
    let reselection = layer.bound(&mut adapter).reselect().unwrap().unwrap();
    assert_eq!(reselection.step, 2);
    assert_eq!((reselection.dropped, reselection.grown), (dropped.len() as i64, grown.len() as i64));
    assert_eq!(reselection.settled, dropped.len() as i64);
    assert_eq!(adapter.mask("w").unwrap(), expected);
    assert_eq!(adapter.moved("w", Moved::Dropped).unwrap(), dropped);
    assert_eq!(adapter.moved(0, Moved::Grown).unwrap(), grown);
    assert_eq!(adapter.state().unwrap().settled_scalars, reselection.settled);
    for &index in &dropped {
        assert_ne!(layer.weights[index as usize], original[index as usize], "settled weights stay as trained");
    }
    layer.bound(&mut adapter).unmerge().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
}

#[test]
fn settled_scalars_have_a_limit() {
    let context = cpu();
    let mut layer = Layer::new(61, [6, 4]);
    let made = builder(&context, &layer)
        .selection(Selection::Random)
        .budget(5)
        .schedule(Schedule::new().reselect_every(1).settled_limit(2));
    let mut adapter = made.build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    for _ in 0..4 {
        step(&mut adapter, &mut layer);
        assert!(layer.bound(&mut adapter).reselect().unwrap().unwrap().settled <= 2);
    }
    refused(adapter.moved("w", Moved::Grown), Status::InvalidState, "track_moves");
}

#[test]
fn spiel_ag_grows_the_largest_gradients() {
    let context = cpu();
    let mut layer = Layer::new(62, [6, 4]);
    let original = layer.weights.clone();
    let schedule = Schedule::new().reselect_every(3).window(1).rate(0.5).curve(Rate::Constant).track_moves(true);
    let made = builder(&context, &layer).selection(Selection::SpielAg).budget(5).seed(4).schedule(schedule);
    let mut adapter = made.build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    let before = adapter.mask("w").unwrap();
    step(&mut adapter, &mut layer);

    // All of them go the first time; with a window of one step the candidates are ranked by that step's gradient.
    let outside = |index: usize| {
        if before.contains(&(index as i64)) { f32::NEG_INFINITY } else { layer.slopes[index].abs() }
    };
    let expected = largest(5, outside, SIZE);
    let reselection = layer.bound(&mut adapter).reselect().unwrap().unwrap();
    assert_eq!((reselection.step, reselection.dropped, reselection.grown, reselection.settled), (1, 5, 5, 0));
    assert_eq!(adapter.mask("w").unwrap(), expected);
    assert_eq!(adapter.moved("w", Moved::Dropped).unwrap(), before);
    assert_eq!(adapter.ages("w").unwrap(), [1; 5]);
    assert_eq!(bits(&layer.weights), bits(&original)); // the dropped have their bits again, the grown start at 0

    for _ in 0..3 {
        step(&mut adapter, &mut layer);
    }
    let kept = adapter.mask("w").unwrap();
    let deltas = adapter.deltas("w").unwrap().as_slice::<f32>().unwrap().to_vec();
    let least = largest(2, |position| -deltas[position].abs(), 5);
    let reselection = layer.bound(&mut adapter).reselect().unwrap().unwrap();
    assert_eq!((reselection.step, reselection.dropped), (4, 2)); // ⌊5·0.5⌋
    let dropped: Vec<i64> = least.iter().map(|&position| kept[position as usize]).collect();
    assert_eq!(adapter.moved("w", Moved::Dropped).unwrap(), dropped);
}

#[test]
fn spiel_ma_grows_by_the_moments_of_sm3() {
    let context = cpu();
    let mut layer = Layer::new(63, [6, 4]);
    let schedule =
        Schedule::new().total_steps(50).reselect_every(3).window(1).curve(Rate::Cosine).drop_by(DropBy::Change);
    let made = builder(&context, &layer).selection(Selection::SpielMa).budget(6).schedule(schedule);
    let mut adapter = made.build().unwrap();
    layer.bound(&mut adapter).select().unwrap();
    let before = adapter.mask("w").unwrap();
    step(&mut adapter, &mut layer);
    // After one step from zeros a row's sum is the largest square among its selected gradients; a column's likewise.
    let best = |belongs: &dyn Fn(usize) -> bool| {
        let squares = before.iter().map(|&index| index as usize).filter(|&index| belongs(index));
        squares.map(|index| f64::from(layer.slopes[index]).powi(2)).fold(0.0, f64::max)
    };
    let score = |index: usize| {
        if before.contains(&(index as i64)) {
            return f64::NEG_INFINITY;
        }
        best(&|other| other / 4 == index / 4).sqrt() * best(&|other| other % 4 == index % 4).sqrt()
    };
    let expected = largest(6, score, SIZE);
    assert_eq!(layer.bound(&mut adapter).reselect().unwrap().unwrap().grown, 6);
    assert_eq!(adapter.mask("w").unwrap(), expected);
}

#[test]
fn dynamic_masks_of_gradients_want_new_observations() {
    let context = cpu();
    let mut layer = Layer::new(64, [6, 4]);
    let made = builder(&context, &layer).budget(5).schedule(Schedule::new().reselect_every(1).total_steps(9));
    let mut adapter = made.build().unwrap();
    train(&mut adapter, &mut layer, 1);
    refused(layer.bound(&mut adapter).reselect(), Status::InvalidState, "observ");
    layer.slopes = numbers(65, SIZE);
    adapter.observe("w", &layer.gradient()).unwrap();
    adapter.finish_observation(1.0).unwrap();
    let mut reports = 0;
    let mut count = |progress: Progress| {
        assert!(progress.done <= progress.total);
        reports += 1;
        std::ops::ControlFlow::Continue(())
    };
    layer.bound(&mut adapter).reselect_with(&mut count).unwrap().unwrap();
    assert!(reports > 0);
    assert_eq!(adapter.mask("w").unwrap(), largest(5, |index| layer.slopes[index].abs(), SIZE));
}
