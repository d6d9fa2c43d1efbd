//! A host with one layer, and plain float64 loops for the truth.

use speft::*;

pub fn cpu() -> Context {
    Context::builder().backend("cpu").threads(2).build().unwrap()
}

/// Numbers in (−1, 1) that look random, the same each time: the upper bits of a multiplicative generator.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The indices of the k largest scores, the smaller index first among equals, in rising order.
pub fn largest<S: PartialOrd>(k: usize, scores: impl Fn(usize) -> S, size: usize) -> Vec<i64> {
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| scores(b).partial_cmp(&scores(a)).unwrap()); // stable
    let mut chosen: Vec<i64> = order[..k].iter().map(|&index| index as i64).collect();
    chosen.sort_unstable();
    chosen
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A weight matrix and a gradient of it.
pub struct Layer {
    pub shape: [usize; 2],
    pub weights: Vec<f32>,
    pub slopes: Vec<f32>,
}

impl Layer {
    pub fn new(seed: u64, shape: [usize; 2]) -> Self {
        let size = shape[0] * shape[1];
        Self { shape, weights: numbers(seed, size), slopes: numbers(seed + 1000, size) }
    }

    pub fn parameter(&self) -> Parameter {
        Parameter::sparse("w", self.shape, DataType::Float32)
    }

    pub fn gradient(&self) -> Gradient<'_> {
        Gradient::dense(TensorView::new(&self.slopes, self.shape).unwrap())
    }

    pub fn bound<'a>(&'a mut self, adapter: &'a mut Adapter) -> Bound<'a> {
        adapter.bind([TensorViewMut::new(&mut self.weights, self.shape).unwrap()]).unwrap()
    }
}

pub fn builder<'a>(context: &'a Context, layer: &Layer) -> AdapterBuilder<'a> {
    Adapter::builder(context).parameter(layer.parameter())
}

/// Observes once, selects, and takes so many steps.
pub fn train(adapter: &mut Adapter, layer: &mut Layer, steps: usize) {
    adapter.observe("w", &layer.gradient()).unwrap();
    adapter.finish_observation(1.0).unwrap();
    layer.bound(adapter).select().unwrap();
    for _ in 0..steps {
        step(adapter, layer);
    }
}

pub fn step(adapter: &mut Adapter, layer: &mut Layer) {
    adapter.accumulate("w", &layer.gradient()).unwrap();
    layer.bound(adapter).step(Hyperparameters::new().learning_rate(0.125)).unwrap();
}

/// That a call is refused, with words that the message has.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T>, status: Status, words: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.status(), status, "{error}");
    assert!(error.message().contains(words), "{:?} is not in {:?}", words, error.message());
}

/// A matrix in float64, row-major.
#[derive(Clone)]
pub struct Matrix {
    pub shape: [usize; 2],
    pub entries: Vec<f64>,
}

impl Matrix {
    pub fn new(values: &[f32], shape: [usize; 2]) -> Self {
        assert_eq!(values.len(), shape[0] * shape[1]);
        Self { shape, entries: values.iter().copied().map(f64::from).collect() }
    }

    pub fn transposed(&self) -> Self {
        let [rows, columns] = self.shape;
        let entries = (0..rows * columns).map(|index| self.entries[index % rows * columns + index / rows]).collect();
        Self { shape: [columns, rows], entries }
    }

    pub fn times(&self, other: &Self) -> Self {
        let ([rows, depth], columns) = (self.shape, other.shape[1]);
        assert_eq!(depth, other.shape[0]);
        let entry = |row: usize, column: usize| {
            (0..depth).map(|at| self.entries[row * depth + at] * other.entries[at * columns + column]).sum()
        };
        let entries = (0..rows * columns).map(|index| entry(index / columns, index % columns)).collect();
        Self { shape: [rows, columns], entries }
    }

    pub fn plus(&self, other: &Self) -> Self {
        assert_eq!(self.shape, other.shape);
        Self { shape: self.shape, entries: self.entries.iter().zip(&other.entries).map(|(a, b)| a + b).collect() }
    }

    pub fn scaled(&self, factor: f64) -> Self {
        Self { shape: self.shape, entries: self.entries.iter().map(|entry| entry * factor).collect() }
    }

    #[track_caller]
    pub fn assert_close(&self, values: &[f32], tolerance: f64) {
        assert_eq!(values.len(), self.entries.len());
        for (index, (value, entry)) in values.iter().zip(&self.entries).enumerate() {
            assert!((f64::from(*value) - entry).abs() <= tolerance, "{index}: {value} for {entry}");
        }
    }
}

/// AdamW on the k largest of each step's gradients alone, in float64: what a step does not select does not move, nor
/// its moments. Decay and betas are the defaults, the learning rate is that of `step`.
#[derive(Default)]
pub struct LazyAdamW {
    weights: std::collections::BTreeMap<i64, Moving>,
}

#[derive(Default)]
struct Moving {
    delta: f64,
    first: f64,
    second: f64,
    age: i32,
}

impl LazyAdamW {
    /// The indices that this step has selected.
    pub fn step(&mut self, gradient: &[f64], k: usize) -> Vec<i64> {
        let chosen = largest(k, |index| gradient[index].abs(), gradient.len());
        for &index in &chosen {
            let (weight, slope) = (self.weights.entry(index).or_default(), gradient[index as usize]);
            weight.age += 1;
            weight.first = 0.9 * weight.first + 0.1 * slope;
            weight.second = 0.999 * weight.second + 0.001 * slope * slope;
            let unbiased = weight.second / (1.0 - 0.999_f64.powi(weight.age));
            weight.delta -= 0.125 * weight.first / (1.0 - 0.9_f64.powi(weight.age)) / (unbiased.sqrt() + 1e-8);
        }
        chosen
    }

    /// All that any step has selected.
    pub fn mask(&self) -> Vec<i64> {
        self.weights.keys().copied().collect()
    }

    pub fn ages(&self) -> Vec<i64> {
        self.weights.values().map(|weight| weight.age.into()).collect()
    }

    pub fn deltas(&self, shape: [usize; 2]) -> Matrix {
        let entry = |index: usize| self.weights.get(&(index as i64)).map_or(0.0, |weight| weight.delta);
        Matrix { shape, entries: (0..shape[0] * shape[1]).map(entry).collect() }
    }
}
