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
