//! Training in a basis: SparseGrad's masks and deltas, the layer that applies them, and files.

use crate::host::*;
use speft::*;

const ROWS: usize = 6;
const COLUMNS: usize = 9;
const SHAPE: [usize; 2] = [ROWS, COLUMNS];
const BUDGET: usize = 7;
const TOKENS: usize = 5;

/// Sums of some 20 products of numbers below 2, in float32, of which each rounding takes 1e-7 or less; deltas, up to 0.5,
/// have their gradients' relative error, some 1e-6.
const CLOSE: f64 = 1e-5;

fn hyperparameters() -> Hyperparameters {
    Hyperparameters::new().learning_rate(0.125)
}

fn dense(values: &[f32]) -> Gradient<'_> {
    Gradient::dense(TensorView::new(values, SHAPE).unwrap())
}

fn fitted(builder: BasisBuilder<'_>) -> Basis {
    let mut basis = builder.build().unwrap();
    (0..4).for_each(|seed| basis.observe(&dense(&numbers(500 + seed, ROWS * COLUMNS))).unwrap());
    basis.fit().unwrap();
    basis
}

/// U and V as the basis has them.
fn factors(basis: &Basis) -> [Matrix; 2] {
    let (u, v) = basis.matrices().unwrap();
    [u, v].map(|matrix| {
        let shape = [matrix.shape()[0] as usize, matrix.shape()[1] as usize];
        Matrix::new(matrix.as_slice().unwrap(), shape)
    })
}

fn selected(context: &Context, layer: &mut Layer, basis: &Basis) -> Adapter {
    let made = builder(context, layer).selection(Selection::Sparsegrad).budget(BUDGET as u64);
    let mut adapter = made.build().unwrap();
    adapter.bind_basis("w", Some(basis)).unwrap();
    layer.bound(&mut adapter).select().unwrap();
    adapter
}

/// x and dy of a step's layer.
fn activations(step: u64) -> [Vec<f32>; 2] {
    [numbers(510 + step, TOKENS * COLUMNS), numbers(520 + step, TOKENS * ROWS)]
}

fn accumulate(adapter: &mut Adapter, step: u64) {
    let [x, dy] = activations(step);
    let (x, dy) = (TensorView::new(&x, [TOKENS, COLUMNS]).unwrap(), TensorView::new(&dy, [TOKENS, ROWS]).unwrap());
    adapter.accumulate("w", &Gradient::activations(x, dy).scale(0.5)).unwrap();
}

fn take_step(adapter: &mut Adapter, layer: &mut Layer, step: u64) {
    accumulate(adapter, step);
    let mut bound = layer.bound(adapter);
    bound.reselect().unwrap().unwrap();
    bound.step(hyperparameters()).unwrap();
}

/// V dW Uᵀ of that step, dW = dyᵀ x / 2.
fn rotated(step: u64, [u, v]: &[Matrix; 2]) -> Matrix {
    let [x, dy] = activations(step);
    let gradient = Matrix::new(&dy, [TOKENS, ROWS]).transposed().times(&Matrix::new(&x, [TOKENS, COLUMNS]));
    v.times(&gradient.scaled(0.5)).times(&u.transposed())
}

fn turned_back(deltas: &Matrix, [u, v]: &[Matrix; 2]) -> Matrix {
    v.transposed().times(deltas).times(u)
}

/// What the layer makes of some tokens, and of their gradients.
fn products(bound: &mut Bound<'_>, options: LinearOptions) -> [Vec<f32>; 2] {
    let (x, dy) = (numbers(530, TOKENS * COLUMNS), numbers(531, TOKENS * ROWS));
    let (mut y, mut dx) = (vec![f32::NAN; TOKENS * ROWS], vec![f32::NAN; TOKENS * COLUMNS]); // never read
    let x = TensorView::new(&x, [TOKENS, COLUMNS]).unwrap();
    let dy = TensorView::new(&dy, [TOKENS, ROWS]).unwrap();
    bound.linear_forward("w", options, &x, &mut TensorViewMut::new(&mut y, [TOKENS, ROWS]).unwrap()).unwrap();
    bound.linear_backward("w", options, &dy, &mut TensorViewMut::new(&mut dx, [TOKENS, COLUMNS]).unwrap()).unwrap();
    [y, dx]
}

/// Those of this weight matrix.
fn assert_products(found: &[Vec<f32>; 2], weights: &Matrix) {
    let x = Matrix::new(&numbers(530, TOKENS * COLUMNS), [TOKENS, COLUMNS]);
    let dy = Matrix::new(&numbers(531, TOKENS * ROWS), [TOKENS, ROWS]);
    x.times(&weights.transposed()).assert_close(&found[0], CLOSE);
    dy.times(weights).assert_close(&found[1], CLOSE);
}

fn live(builder: impl Fn(&Context) -> BasisBuilder<'_>) {
    let context = cpu();
    let mut layer = Layer::new(540, SHAPE);
    let original = layer.weights.clone();
    let basis = fitted(builder(&context));
    let factors = factors(&basis);
    let inside = [factors[1].shape[0], factors[0].shape[0]];
    let mut adapter = selected(&context, &mut layer, &basis);
    drop(basis); // the adapter keeps it
    assert_eq!(adapter.parameters(), [layer.parameter()]); // as they were declared
    let state = adapter.state().unwrap();
    assert!(state.selected && state.attached && !state.merged);
    assert_eq!(state.selected_scalars, 0);

    let mut truth = LazyAdamW::default();
    for step in 0..4 {
        accumulate(&mut adapter, step);
        let mut bound = layer.bound(&mut adapter);
        bound.reselect().unwrap().unwrap();
        let gradient = rotated(step, &factors);
        let chosen = truth.step(&gradient.entries, BUDGET);
        let mask = bound.mask("w").unwrap();
        assert_eq!(mask, truth.mask());
        let values = bound.gradient("w").unwrap().as_slice::<f32>().unwrap().to_vec();
        for (index, value) in mask.into_iter().zip(values) {
            let expected = if chosen.contains(&index) { gradient.entries[index as usize] } else { 0.0 };
            assert!((f64::from(value) - expected).abs() < CLOSE);
        }
        bound.step(hyperparameters()).unwrap();
        assert_eq!(bound.ages("w").unwrap(), truth.ages());
    }
    let deltas = truth.deltas(inside);
    let trained = adapter.mask("w").unwrap();
    let compact = Matrix {
        shape: [1, trained.len()],
        entries: trained.iter().map(|&index| deltas.entries[index as usize]).collect(),
    };
    compact.assert_close(adapter.deltas("w").unwrap().as_slice().unwrap(), CLOSE);
    assert_eq!(bits(&layer.weights), bits(&original)); // the deltas are beside them

    let delta = turned_back(&deltas, &factors);
    let weights = Matrix::new(&original, SHAPE).plus(&delta);
    let mut bound = layer.bound(&mut adapter);
    let together = products(&mut bound, LinearOptions::new());
    assert_products(&together, &weights);
    assert_products(&products(&mut bound, LinearOptions::new().delta_only(true)), &delta);

    bound.merge().unwrap();
    weights.assert_close(bound.weights("w").unwrap(), CLOSE);
    let merged = bits(bound.weights("w").unwrap());
    let state = bound.state().unwrap();
    assert!(state.merged && !state.attached);
    bound.attach().unwrap();
    let state = bound.state().unwrap();
    assert!(!state.merged && state.attached);
    assert_eq!(bits(bound.weights("w").unwrap()), bits(&original));
    bound.unmerge().unwrap();
    let state = bound.state().unwrap();
    assert!(!state.merged && !state.attached);
    assert_eq!(products(&mut bound, LinearOptions::new()), together);
    bound.merge().unwrap();
    assert_eq!(bits(bound.weights("w").unwrap()), merged);
    bound.unmerge().unwrap();
    drop(bound);
    assert_eq!(bits(&layer.weights), bits(&original));
}

#[test]
fn a_parameter_trains_in_a_basis_beside_its_weights() {
    live(|context| Basis::builder(context, ROWS, COLUMNS));
}

#[test]
fn a_parameter_trains_in_the_leading_directions() {
    live(|context| Basis::builder(context, ROWS, COLUMNS).row_directions(4).column_directions(5));
}

#[test]
fn either_layout_of_the_weight_is_multiplied() {
    let context = cpu();
    let mut layer = Layer::new(541, SHAPE); // [in, out] here
    let basis = fitted(Basis::builder(&context, ROWS, COLUMNS));
    let factors = factors(&basis);
    let mut adapter = selected(&context, &mut layer, &basis);
    let [x, dy] = [numbers(542, TOKENS * ROWS), numbers(543, TOKENS * COLUMNS)];
    let (wide, narrow) = ([TOKENS, COLUMNS], [TOKENS, ROWS]);
    let (x, dy) = (TensorView::new(&x, narrow).unwrap(), TensorView::new(&dy, wide).unwrap());
    let gradient = Gradient::activations(x.clone(), dy.clone()).layout(Layout::InOut);
    adapter.accumulate("w", &gradient).unwrap();
    let mut bound = layer.bound(&mut adapter);
    bound.reselect().unwrap().unwrap();
    bound.step(hyperparameters()).unwrap();
    let (x64, dy64) = (Matrix::new(x.as_slice().unwrap(), narrow), Matrix::new(dy.as_slice().unwrap(), wide));
    let mut truth = LazyAdamW::default();
    truth.step(&factors[1].times(&x64.transposed().times(&dy64)).times(&factors[0].transposed()).entries, BUDGET);
    assert_eq!(bound.mask("w").unwrap(), truth.mask());
    let weights = Matrix::new(bound.weights("w").unwrap(), SHAPE).plus(&turned_back(&truth.deltas(SHAPE), &factors));

    let options = LinearOptions::new().layout(Layout::InOut).accumulate(true);
    let (mut y, mut dx) = (vec![1.0_f32; TOKENS * COLUMNS], vec![1.0_f32; TOKENS * ROWS]);
    bound.linear_forward("w", options, &x, &mut TensorViewMut::new(&mut y, wide).unwrap()).unwrap();
    bound.linear_backward("w", options, &dy, &mut TensorViewMut::new(&mut dx, narrow).unwrap()).unwrap();
    x64.times(&weights).plus(&Matrix::new(&[1.0; TOKENS * COLUMNS], wide)).assert_close(&y, CLOSE);
    dy64.times(&weights.transposed()).plus(&Matrix::new(&[1.0; TOKENS * ROWS], narrow)).assert_close(&dx, CLOSE);
}

#[test]
fn is_saved_and_loaded_with_its_basis() {
    let context = cpu();
    let mut layer = Layer::new(544, SHAPE);
    let original = layer.weights.clone();
    let mut adapter = selected(&context, &mut layer, &fitted(Basis::builder(&context, ROWS, COLUMNS)));
    take_step(&mut adapter, &mut layer, 0);
    take_step(&mut adapter, &mut layer, 1);
    let mut file = Vec::new();
    adapter.save_with(&mut file, SaveOptions::new()).unwrap();
    let trained = products(&mut layer.bound(&mut adapter), LinearOptions::new());
    let delta = products(&mut layer.bound(&mut adapter), LinearOptions::new().delta_only(true));
    layer.bound(&mut adapter).merge().unwrap();
    let merged = bits(&layer.weights);
    layer.bound(&mut adapter).unmerge().unwrap();
    let (mask, deltas) = (adapter.mask("w").unwrap(), bits(adapter.deltas("w").unwrap().as_slice().unwrap()));
    drop(adapter);

    let mut loaded = Adapter::load(&context, Source::Bytes(&file)).unwrap();
    let state = loaded.state().unwrap();
    assert!(state.selected && !state.attached && !state.merged);
    assert_eq!(state.selection, Some(Selection::Sparsegrad));
    assert_eq!(loaded.parameters(), [layer.parameter()]);
    assert_eq!(loaded.mask("w").unwrap(), mask);
    assert_eq!(bits(loaded.deltas("w").unwrap().as_slice().unwrap()), deltas);
    let (x, mut y) = (numbers(530, COLUMNS), [0.0_f32; ROWS]);
    let (x, mut out) = (TensorView::new(&x, [1, COLUMNS]).unwrap(), TensorViewMut::new(&mut y, [1, ROWS]).unwrap());
    // Whose weights they are is not known yet, but the delta alone is.
    refused(
        layer.bound(&mut loaded).linear_forward("w", LinearOptions::new(), &x, &mut out),
        Status::InvalidState,
        "speft_attach",
    );
    assert_eq!(products(&mut layer.bound(&mut loaded), LinearOptions::new().delta_only(true)), delta);
    layer.weights[0] += 1.0;
    refused(layer.bound(&mut loaded).attach(), Status::InvalidArgument, "the right model");
    layer.weights[0] = original[0];
    layer.bound(&mut loaded).attach().unwrap();
    assert_eq!(bits(&layer.weights), bits(&original));
    assert_eq!(products(&mut layer.bound(&mut loaded), LinearOptions::new()), trained);
    layer.bound(&mut loaded).merge().unwrap();
    assert_eq!(bits(&layer.weights), merged);
    layer.bound(&mut loaded).attach().unwrap();

    // It can be trained on, and its mask stays.
    accumulate(&mut loaded, 2);
    let mut bound = layer.bound(&mut loaded);
    assert_eq!(bound.reselect().unwrap(), None);
    bound.step(hyperparameters()).unwrap();
    assert_eq!(bound.mask("w").unwrap(), mask);
    assert_ne!(products(&mut bound, LinearOptions::new()), trained);
}

#[test]
fn resumes_from_a_checkpoint_as_if_it_had_never_stopped() {
    let context = cpu();
    let mut layer = Layer::new(545, SHAPE);
    let mut adapter = selected(&context, &mut layer, &fitted(Basis::builder(&context, ROWS, COLUMNS)));
    take_step(&mut adapter, &mut layer, 0);
    accumulate(&mut adapter, 1);
    layer.bound(&mut adapter).reselect().unwrap().unwrap();
    let mut file = Vec::new();
    adapter.save_checkpoint_with(&mut file, SaveOptions::new()).unwrap();
    let mut other = Layer { weights: layer.weights.clone(), ..Layer::new(545, SHAPE) };
    let mut resumed = Adapter::load_checkpoint(&context, Source::Bytes(&file)).unwrap();
    other.bound(&mut resumed).attach().unwrap();
    for (adapter, layer) in [(&mut adapter, &mut layer), (&mut resumed, &mut other)] {
        layer.bound(adapter).step(hyperparameters()).unwrap();
        take_step(adapter, layer, 2);
        layer.bound(adapter).merge().unwrap();
    }
    assert_eq!(resumed.mask("w").unwrap(), adapter.mask("w").unwrap());
    assert_eq!(resumed.ages("w").unwrap(), adapter.ages("w").unwrap());
    assert_eq!(bits(&other.weights), bits(&layer.weights));
}

#[test]
fn chooses_once_by_observations_and_trains_with_any_optimizer() {
    let context = cpu();
    let mut layer = Layer::new(546, SHAPE);
    let basis = fitted(Basis::builder(&context, ROWS, COLUMNS));
    let [u, v] = factors(&basis);
    let made = builder(&context, &layer)
        .selection(Selection::Sparsegrad)
        .budget(BUDGET as u64)
        .schedule(Schedule::new().curve(Rate::None))
        .optimizer(Optimizer::Sgd);
    let mut adapter = made.build().unwrap();
    adapter.bind_basis("w", Some(&basis)).unwrap();
    adapter.bind_basis("w", None).unwrap(); // another may come in its place
    adapter.bind_basis("w", Some(&basis)).unwrap();
    train(&mut adapter, &mut layer, 1);
    let slopes = v.times(&Matrix::new(&layer.slopes, SHAPE)).times(&u.transposed()).entries;
    let mask = largest(BUDGET, |index| slopes[index].abs(), ROWS * COLUMNS);
    assert_eq!(adapter.mask("w").unwrap(), mask);
    // Values are those of the matrix in the basis, at the mask.
    adapter.accumulate("w", &Gradient::values((&[1.0_f32; BUDGET][..]).into())).unwrap();
    layer.bound(&mut adapter).step(hyperparameters()).unwrap();
    let deltas = adapter.deltas("w").unwrap();
    for (&index, &delta) in mask.iter().zip(deltas.as_slice::<f32>().unwrap()) {
        assert!((f64::from(delta) + 0.125 * (slopes[index as usize] + 1.0)).abs() < CLOSE);
    }
}

#[test]
fn leaves_the_basis_for_the_largest_of_its_delta() {
    let context = cpu();
    let mut layer = Layer::new(554, SHAPE);
    let original = layer.weights.clone();
    let basis = fitted(Basis::builder(&context, ROWS, COLUMNS));
    let factors = factors(&basis);
    let mut adapter = selected(&context, &mut layer, &basis);
    assert_eq!(layer.bound(&mut adapter).ordinary_share(0.5).unwrap(), 1.0); // of nothing
    (0..3).for_each(|step| take_step(&mut adapter, &mut layer, step));
    let mut inside = vec![0.0_f32; ROWS * COLUMNS];
    for (&index, &delta) in adapter.mask("w").unwrap().iter().zip(adapter.deltas("w").unwrap().as_slice().unwrap()) {
        inside[index as usize] = delta;
    }
    let delta = turned_back(&Matrix::new(&inside, SHAPE), &factors);
    let squares = |indices: &[i64]| indices.iter().map(|&index| delta.entries[index as usize].powi(2)).sum::<f64>();
    let all: Vec<i64> = (0..(ROWS * COLUMNS) as i64).collect();
    for (density, k) in [(1.0, ROWS * COLUMNS), (0.25, 13)] {
        let (mut ordinary, share) = layer.bound(&mut adapter).leave_bases(density).unwrap();
        assert_eq!(bits(&layer.weights), bits(&original));
        assert_eq!(layer.bound(&mut adapter).ordinary_share(density).unwrap(), share);
        let state = ordinary.state().unwrap();
        assert!(state.selected && !state.merged && !state.attached);
        assert_eq!(state.selection, Some(Selection::Mask));
        let mask = ordinary.mask("w").unwrap();
        assert_eq!(mask, largest(k, |index| delta.entries[index].abs(), ROWS * COLUMNS));
        let deltas = Matrix { shape: [1, k], entries: mask.iter().map(|&at| delta.entries[at as usize]).collect() };
        deltas.assert_close(ordinary.deltas("w").unwrap().as_slice().unwrap(), CLOSE);
        assert!((share - squares(&mask) / squares(&all)).abs() < CLOSE);
        layer.bound(&mut ordinary).merge().unwrap();
        let mut weights = Matrix::new(&original, SHAPE);
        mask.iter().for_each(|&index| weights.entries[index as usize] += delta.entries[index as usize]);
        weights.assert_close(&layer.weights, CLOSE);
        layer.bound(&mut ordinary).unmerge().unwrap();
    }
    assert_eq!(bits(&layer.weights), bits(&original));
    refused(layer.bound(&mut adapter).leave_bases(0.0), Status::InvalidArgument, "density");
    refused(layer.bound(&mut adapter).ordinary_share(f64::NAN), Status::InvalidArgument, "density");
    // The memory of a loan is not read after it.
    refused(adapter.leave_bases(1.0), Status::InvalidState, "bound");
    refused(adapter.ordinary_share(1.0), Status::InvalidState, "bound");
    layer.bound(&mut adapter).merge().unwrap();
    refused(layer.bound(&mut adapter).leave_bases(1.0), Status::InvalidState, "merged");
    let raw = RawTensor::new(layer.weights.as_mut_ptr().cast(), DataType::Float32, SHAPE).unwrap();
    // SAFETY: the weights outlive the adapter, and nobody uses them during its calls.
    unsafe { adapter.bind_raw("w", &raw) }.unwrap();
    adapter.unmerge().unwrap();
    assert_eq!(adapter.leave_bases(1.0).unwrap().1, 1.0);
    assert_eq!(adapter.ordinary_share(1.0).unwrap(), 1.0);
}

#[test]
fn parameters_share_a_basis() {
    let context = cpu();
    let mut layers = [Layer::new(547, SHAPE), Layer::new(548, SHAPE)];
    let mut basis = fitted(Basis::builder(&context, ROWS, COLUMNS));
    let mut adapter = Adapter::builder(&context)
        .selection(Selection::Sparsegrad)
        .scope(Scope::PerTensor)
        .budget(BUDGET as u64)
        .parameters(["one", "other"].map(|name| Parameter::sparse(name, SHAPE, DataType::Float32)))
        .build()
        .unwrap();
    adapter.bind_basis("one", Some(&basis)).unwrap();
    adapter.bind_basis(1, Some(&basis)).unwrap();
    let slopes = layers.each_ref().map(|layer| layer.slopes.clone());
    let weights = layers.each_mut().map(|layer| TensorViewMut::new(&mut layer.weights, SHAPE).unwrap());
    let mut bound = adapter.bind(weights).unwrap();
    bound.select().unwrap();
    bound.accumulate(0, &dense(&slopes[0])).unwrap();
    bound.accumulate(1, &dense(&slopes[1])).unwrap();
    assert_eq!(bound.reselect().unwrap().unwrap().grown, 2 * BUDGET as i64);
    bound.step(hyperparameters()).unwrap();
    assert_eq!([0, 1].map(|position| bound.selected_count(position).unwrap()), [BUDGET; 2]);
    drop(bound);
    refused(basis.fit(), Status::InvalidState, "");
    drop(adapter);
    basis.fit().unwrap(); // nobody trains in it
}

#[test]
fn refuses_bases_that_do_not_fit() {
    let context = cpu();
    let mut layer = Layer::new(549, SHAPE);
    let basis = fitted(Basis::builder(&context, ROWS, COLUMNS));
    let made = || {
        let made = builder(&context, &layer).selection(Selection::Sparsegrad).budget(BUDGET as u64);
        made.parameter(Parameter::dense("head", SHAPE, DataType::Float32)).build().unwrap()
    };
    let (argument, state) = (Status::InvalidArgument, Status::InvalidState);
    let mut adapter = made();
    let slopes = numbers(550, COLUMNS * ROWS);
    let mut turned = Basis::new(&context, COLUMNS, ROWS).unwrap();
    turned.observe(&Gradient::dense(TensorView::new(&slopes, [COLUMNS, ROWS]).unwrap())).unwrap();
    refused(adapter.bind_basis("w", Some(&turned)), state, "speft_fit_basis");
    turned.fit().unwrap();
    refused(adapter.bind_basis("w", Some(&turned)), argument, "[9, 6], and 'w' has shape [6, 9]");
    refused(adapter.bind_basis("w", Some(&fitted(Basis::builder(&cpu(), ROWS, COLUMNS)))), argument, "context");
    refused(adapter.bind_basis("head", Some(&basis)), argument, "dense");
    refused(adapter.bind_basis("v", Some(&basis)), argument, "one of (w, head)");
    let mut head = numbers(551, COLUMNS * ROWS);
    let mut select = |adapter: &mut Adapter| {
        let weights = [&mut layer.weights, &mut head].map(|weights| TensorViewMut::new(weights, SHAPE).unwrap());
        adapter.bind(weights).unwrap().select()
    };
    refused(select(&mut adapter), state, "'w' has no basis");
    adapter.bind_basis("w", Some(&basis)).unwrap();
    select(&mut adapter).unwrap();
    refused(adapter.bind_basis("w", None), state, "selection");
    let layer = Layer::new(549, SHAPE);
    let mut other = builder(&context, &layer).budget(BUDGET as u64).build().unwrap();
    refused(other.bind_basis("w", Some(&basis)), state, "sparsegrad");
    let once = Schedule::new().curve(Rate::None);
    let made = builder(&context, &layer).selection(Selection::Sparsegrad).budget(BUDGET as u64).schedule(once);
    let mut observed = made.build().unwrap();
    observed.observe("w", &layer.gradient()).unwrap();
    refused(observed.bind_basis("w", Some(&basis)), state, "observations");
}

#[test]
fn refuses_calls_at_the_wrong_time() {
    let context = cpu();
    let mut layer = Layer::new(552, SHAPE);
    let mut adapter = selected(&context, &mut layer, &fitted(Basis::builder(&context, ROWS, COLUMNS)));
    let state = Status::InvalidState;
    accumulate(&mut adapter, 0);
    refused(layer.bound(&mut adapter).step(hyperparameters()), state, "speft_reselect before speft_step");
    layer.bound(&mut adapter).reselect().unwrap().unwrap();
    refused(adapter.rounding_loss("w"), Status::InvalidArgument, "beside its weights");

    layer.bound(&mut adapter).merge().unwrap();
    refused(layer.bound(&mut adapter).step(hyperparameters()), state, "speft_attach before a step");
    let (x, mut y) = (numbers(553, COLUMNS), [7.0_f32; ROWS]);
    let x = TensorView::new(&x, [1, COLUMNS]).unwrap();
    let mut out = TensorViewMut::new(&mut y, [1, ROWS]).unwrap();
    refused(
        layer.bound(&mut adapter).linear_forward("w", LinearOptions::new(), &x, &mut out),
        state,
        "until speft_unmerge or speft_attach",
    );
    let kept = layer.weights[5];
    layer.weights[5] += 1.0;
    refused(layer.bound(&mut adapter).attach(), state, "changed behind the adapter");
    refused(layer.bound(&mut adapter).unmerge(), state, "changed behind the adapter");
    layer.weights[5] = kept;
    layer.bound(&mut adapter).unmerge().unwrap();
    refused(layer.bound(&mut adapter).step(hyperparameters()), state, "speft_attach before a step");
    refused(adapter.attach(), state, "bound");
    assert_eq!(y, [7.0; ROWS]);
    layer.bound(&mut adapter).attach().unwrap();
    layer.bound(&mut adapter).step(hyperparameters()).unwrap(); // by the gradient of before
}
