//! Every method of selection, against plain float64 loops.

use std::ops::ControlFlow;

use crate::host::*;
use speft::*;

const SHAPE: [usize; 2] = [6, 4];
const SIZE: usize = 24;
const BUDGET: usize = 5;

/// What the methods are computed from: two batches, of weights 1 and 3.
struct Case {
    layer: Layer,
    batches: [Vec<f32>; 2],
    inputs: Vec<f32>,
    reference: Vec<f32>,
    scores: Vec<f32>,
}

impl Case {
    fn new() -> Self {
        Self {
            layer: Layer::new(41, SHAPE),
            batches: [numbers(42, SIZE), numbers(43, SIZE)],
            inputs: numbers(44, 3 * SHAPE[1]),
            reference: numbers(45, SIZE),
            scores: numbers(46, SIZE),
        }
    }

    fn weight(&self, index: usize) -> f64 {
        f64::from(self.layer.weights[index])
    }

    fn mean(&self, index: usize, map: impl Fn(f64) -> f64) -> f64 {
        let [first, second] = &self.batches;
        (map(f64::from(first[index])) + 3.0 * map(f64::from(second[index]))) / 4.0
    }

    /// The larger, the sooner; `None` where a method does not rank.
    fn score(&self, selection: Selection, index: usize) -> Option<f64> {
        let (weight, mean) = (self.weight(index), self.mean(index, |gradient| gradient));
        Some(match selection {
            Selection::Magnitude => weight.abs(),
            Selection::SmallestMagnitude => -weight.abs(),
            Selection::Gradient | Selection::Meprop => mean.abs(),
            Selection::Snip | Selection::TaylorFo | Selection::Synflow => (mean * weight).abs(),
            Selection::Force | Selection::Grasp => -(mean * weight),
            Selection::GraspCode => mean * weight,
            Selection::Fisher => self.mean(index, |gradient| gradient * gradient),
            Selection::WeightChange => (weight - f64::from(self.reference[index])).abs(),
            Selection::Wanda => {
                let column = index % SHAPE[1];
                let squares = (0..3).map(|token| f64::from(self.inputs[token * SHAPE[1] + column]).powi(2));
                weight.abs() * squares.sum::<f64>().sqrt()
            }
            Selection::LowRank => self.rank_one()[index].abs(),
            Selection::Scores => f64::from(self.scores[index]),
            Selection::ScoreFunction => weight + 2.0 * mean,
            _ => return None,
        })
    }

    /// The best approximation of rank 1, by power iteration.
    fn rank_one(&self) -> Vec<f64> {
        let [rows, columns] = SHAPE;
        let mut right = vec![1.0; columns];
        let mut left = vec![0.0; rows];
        for _ in 0..1000 {
            for (row, value) in left.iter_mut().enumerate() {
                *value = (0..columns).map(|column| self.weight(row * columns + column) * right[column]).sum();
            }
            let norm = left.iter().map(|value| value * value).sum::<f64>().sqrt();
            left.iter_mut().for_each(|value| *value /= norm);
            for (column, value) in right.iter_mut().enumerate() {
                *value = (0..rows).map(|row| self.weight(row * columns + column) * left[row]).sum();
            }
        }
        (0..SIZE).map(|index| left[index / columns] * right[index % columns]).collect()
    }

    fn observe(&self, adapter: &mut Adapter, selection: Selection) {
        if selection == Selection::Wanda {
            let x = TensorView::new(&self.inputs, [3, SHAPE[1]]).unwrap();
            adapter.observe("w", &Gradient::inputs(x)).unwrap();
            adapter.finish_observation(1.0).unwrap();
            return;
        }
        for (batch, weight) in self.batches.iter().zip([1.0, 3.0]) {
            adapter.observe("w", &Gradient::dense(TensorView::new(batch, SHAPE).unwrap())).unwrap();
            adapter.finish_observation(weight).unwrap();
        }
    }
}

#[test]
fn methods_choose_what_float64_says() {
    let context = cpu();
    for &selection in Selection::ALL {
        let mut case = Case::new();
        let mut made = builder(&context, &case.layer).selection(selection);
        if selection != Selection::Mask {
            made = made.budget(BUDGET as u64);
        }
        if selection == Selection::LowRank {
            made = made.approximation_rank(1);
        }
        if selection == Selection::ScoreFunction {
            made = made.score_function(|mut scoring| {
                assert_eq!(scoring.parameter, 0);
                let weights = scoring.weights.as_slice::<f32>().unwrap();
                let gradient = scoring.gradient.as_ref().unwrap().as_slice::<f32>().unwrap();
                for (index, score) in scoring.scores.as_mut_slice::<f32>().unwrap().iter_mut().enumerate() {
                    *score = weights[index] + 2.0 * gradient[index];
                }
                ControlFlow::Continue(())
            });
        }
        if selection == Selection::Sparsegrad {
            continue; // which needs a basis: sparsegrad.rs
        }
        if selection == Selection::Meprop {
            made = made.schedule(Schedule::new().curve(Rate::None)); // else it waits for the gradient of a step
        }
        let mut adapter = made.build().unwrap();
        let mut expected =
            case.score(selection, 0).map(|_| largest(BUDGET, |index| case.score(selection, index).unwrap(), SIZE));
        match selection {
            Selection::Mask => {
                adapter.set_mask("w", &[1, 8, 23]).unwrap();
                expected = Some(vec![1, 8, 23]);
            }
            Selection::Scores => adapter.set_scores(0, &TensorView::new(&case.scores, SHAPE).unwrap()).unwrap(),
            Selection::WeightChange => {
                adapter.set_reference(0, &TensorView::new(&case.reference, SHAPE).unwrap()).unwrap();
            }
            _ => {}
        }
        case.observe(&mut adapter, selection);
        case.layer.bound(&mut adapter).select().unwrap();
        let mask = adapter.mask("w").unwrap();
        assert_eq!(adapter.state().unwrap().selection, Some(selection));
        match expected {
            Some(expected) => assert_eq!(mask, expected, "{selection}"),
            // SpIEL starts from a random mask.
            None => {
                assert!(matches!(selection, Selection::Random | Selection::SpielAg | Selection::SpielMa));
                assert_eq!(mask.len(), BUDGET);
                assert!(mask.is_sorted() && mask.iter().all(|&index| (0..SIZE as i64).contains(&index)));
            }
        }
        if selection == Selection::WeightChange {
            assert_eq!(bits(&case.layer.weights), bits(&case.reference)); // selecting rewinds
        }
    }
}

#[test]
fn names_are_those_of_the_other_bindings() {
    let names: Vec<_> = Selection::ALL.iter().map(|selection| selection.to_string()).collect();
    let expected = "random magnitude gradient snip mask scores force taylor-fo fisher synflow grasp grasp-code \
                    weight-change low-rank wanda spiel-ag spiel-ma sparsegrad meprop smallest-magnitude score-function";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    for &selection in Selection::ALL {
        assert_eq!(selection.name().parse::<Selection>().unwrap(), selection);
        assert_eq!(Selection::from_code(selection.code()), Some(selection));
    }
    assert_eq!(Selection::from_code(-7), None);
    refused("best".parse::<Selection>(), Status::InvalidArgument, "selection must be one of (random, magnitude");
    refused("best".parse::<Scope>(), Status::InvalidArgument, "\"best\"");
    refused("float64".parse::<DataType>(), Status::InvalidArgument, "float32");
    assert_eq!("bfloat16".parse::<DataType>().unwrap(), DataType::BFloat16);
}

#[test]
fn a_mean_of_absolutes_differs_from_an_absolute_mean() {
    let context = cpu();
    let mut case = Case::new();
    case.batches[1] = case.batches[0]
        .iter()
        .enumerate()
        .map(|(index, value)| {
            if index < 12 { -value / 3.0 } else { value / 3.0 } // the first half cancels at weights 1 and 3
        })
        .collect();
    let mut masks = Vec::new();
    for &mean in Mean::ALL {
        let mut adapter = builder(&context, &case.layer).budget(12).mean(mean).build().unwrap();
        case.observe(&mut adapter, Selection::Gradient);
        case.layer.bound(&mut adapter).select().unwrap();
        masks.push(adapter.mask("w").unwrap());
        case.layer.bound(&mut adapter).unmerge().unwrap();
    }
    assert_eq!(masks[0], (12..24).collect::<Vec<i64>>());
    assert_eq!(masks[1], largest(12, |index| case.mean(index, f64::abs), SIZE));
    assert_ne!(masks[0], masks[1]);
}

#[test]
fn scopes_rank_together_apart_or_by_row() {
    let context = cpu();
    let layer = Layer::new(50, SHAPE);
    for (scope, budget, expected) in [
        (Scope::Global, 6, largest(6, |index| layer.weights[index].abs(), SIZE)),
        (Scope::PerTensor, 6, largest(6, |index| layer.weights[index].abs(), SIZE)),
        (
            Scope::PerRow,
            1,
            (0..6)
                .map(|row| row * 4 + largest(1, |column| layer.weights[row as usize * 4 + column].abs(), 4)[0])
                .collect(),
        ),
    ] {
        let mut lent = Layer { weights: layer.weights.clone(), ..Layer::new(50, SHAPE) };
        let made = builder(&context, &lent).selection(Selection::Magnitude).scope(scope).budget(budget);
        let mut adapter = made.build().unwrap();
        lent.bound(&mut adapter).select().unwrap();
        assert_eq!(adapter.mask(0).unwrap(), expected, "{scope}");
    }
}

#[test]
fn budgets_are_densities_counts_or_ranks() {
    let context = cpu();
    let count = |set: fn(AdapterBuilder<'_>) -> AdapterBuilder<'_>| {
        let mut layer = Layer::new(51, SHAPE);
        let mut adapter = set(builder(&context, &layer).selection(Selection::Magnitude)).build().unwrap();
        layer.bound(&mut adapter).select().unwrap();
        adapter.selected_count("w").unwrap()
    };
    assert_eq!(count(|builder| builder.density(0.25)), 6);
    assert_eq!(count(|builder| builder.density(0.05).model_scalars(240)), 12);
    assert_eq!(count(|builder| builder.budget(7)), 7);
    assert_eq!(count(|builder| builder.rank(1)), 10);
}

#[test]
fn random_masks_follow_their_seed() {
    let context = cpu();
    let draw = |random, seed| {
        let mut layer = Layer::new(52, [32, 32]);
        let made = builder(&context, &layer).selection(Selection::Random).density(0.25).random(random).seed(seed);
        let mut adapter = made.build().unwrap();
        layer.bound(&mut adapter).select().unwrap();
        adapter.mask("w").unwrap()
    };
    for random in [Random::Exact, Random::Bernoulli] {
        assert_eq!(draw(random, 1), draw(random, 1));
        assert_ne!(draw(random, 1), draw(random, 2));
    }
    assert_eq!(draw(Random::Exact, 1).len(), 256);
    // 1024 draws of probability 1/4: a standard deviation of 14, so that 6 of them are 84.
    assert!((172..340).contains(&draw(Random::Bernoulli, 1).len()));
}

#[test]
fn examples_count_by_their_own_gradients() {
    let context = cpu();
    let mut layer = Layer::new(53, SHAPE);
    let (x, dy) = (numbers(54, 5 * 4), numbers(55, 5 * 6));
    let offsets = [0_i64, 2, 5];
    let mut adapter = builder(&context, &layer).selection(Selection::Fisher).budget(5).build().unwrap();
    let views = (TensorView::new(&x, [5, 4]).unwrap(), TensorView::new(&dy, [5, 6]).unwrap());
    let gradient = Gradient::activations(views.0, views.1).example_offsets(&offsets);
    adapter.observe("w", &gradient).unwrap();
    adapter.finish_observation(1.0).unwrap();
    layer.bound(&mut adapter).select().unwrap();
    let score = |index: usize| -> f64 {
        offsets
            .windows(2)
            .map(|example| {
                let gradient =
                    |token: usize| f64::from(dy[token * 6 + index / 4]) * f64::from(x[token * 4 + index % 4]);
                (example[0] as usize..example[1] as usize).map(gradient).sum::<f64>().powi(2)
            })
            .sum()
    };
    assert_eq!(adapter.mask("w").unwrap(), largest(5, score, SIZE));
}

#[test]
fn observations_can_be_cleared() {
    let context = cpu();
    let mut layer = Layer::new(56, SHAPE);
    let mut adapter = builder(&context, &layer).budget(5).build().unwrap();
    adapter.begin_observation(2.0).unwrap();
    refused(adapter.finish_observation(3.0), Status::InvalidArgument, "weight");
    let wrong = vec![9.0; SIZE];
    adapter.observe("w", &Gradient::dense(TensorView::new(&wrong, SHAPE).unwrap())).unwrap();
    adapter.clear_observations().unwrap();
    train(&mut adapter, &mut layer, 0);
    assert_eq!(adapter.mask("w").unwrap(), largest(5, |index| layer.slopes[index].abs(), SIZE));
}
