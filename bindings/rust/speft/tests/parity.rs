//! The parity cases that C has recorded, played through this crate: masks, and the bits of the rest.
//!
//! The folder of the cases is `SPEFT_PARITY_CASES`; see tests/parity/README.md of the repository.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use speft::half::{bf16, f16};
use speft::*;

/// Elements with the bytes of a file, aligned for any type.
struct Array {
    words: Vec<i64>,
    bytes: usize,
}

impl Array {
    fn read(path: &Path) -> Self {
        let content = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let words = content.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            i64::from_le_bytes(word)
        });
        Self { words: words.collect(), bytes: content.len() }
    }

    fn elements<T: Element>(&self) -> &[T] {
        assert_eq!(self.bytes % size_of::<T>(), 0);
        // SAFETY: that many bytes are there, aligned to 8, and any bits are a T.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }

    fn view(&self, data_type: DataType, shape: &[usize]) -> TensorView<'_> {
        match data_type {
            DataType::Float32 => TensorView::new(self.elements::<f32>(), shape),
            DataType::BFloat16 => TensorView::new(self.elements::<bf16>(), shape),
            DataType::Float16 => TensorView::new(self.elements::<f16>(), shape),
            other => panic!("a case has no tensor of {other}"),
        }
        .unwrap()
    }

    fn raw(&mut self, data_type: DataType, shape: &[usize]) -> RawTensor {
        RawTensor::new(self.words.as_mut_ptr().cast(), data_type, shape).unwrap()
    }
}

fn bytes(view: &TensorView<'_>) -> Vec<u8> {
    match view.data_type() {
        DataType::Float32 => view.as_slice::<f32>().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect(),
        DataType::BFloat16 => view.as_slice::<bf16>().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect(),
        DataType::Float16 => view.as_slice::<f16>().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect(),
        other => panic!("a case has no {other}"),
    }
}

/// The memory of quantized weights.
struct Codes {
    kind: Quantization,
    block: i32,
    absmax_block: i32,
    codes: Array,
    absmax: Array,
    /// Of scales that are quantized themselves: their scales, and the offset.
    nested: Option<[Array; 2]>,
}

impl Codes {
    /// # Safety
    /// The memory stays where it is as long as what is bound to it.
    unsafe fn view(&mut self, shape: &[usize]) -> QuantizedMut<'static> {
        let eight_bits = self.kind == Quantization::Int8;
        // SAFETY: the arrays have as many bytes; the rest is the caller's promise.
        let whole = |array: &mut Array, data_type: DataType, width: usize| unsafe {
            TensorViewMut::from_raw(array.raw(data_type, &[array.bytes / width]))
        };
        let codes = if eight_bits {
            // SAFETY: as above.
            unsafe { TensorViewMut::from_raw(self.codes.raw(DataType::Int8, shape)) }
        } else {
            whole(&mut self.codes, DataType::UInt8, 1)
        };
        let Some([absmax, offset]) = &mut self.nested else {
            return QuantizedMut::new(self.kind, self.block, codes, whole(&mut self.absmax, DataType::Float32, 4));
        };
        let scales = whole(&mut self.absmax, DataType::UInt8, 1);
        let (absmax, offset) = (whole(absmax, DataType::Float32, 4), whole(offset, DataType::Float32, 4));
        QuantizedMut::new(self.kind, self.block, codes, scales).nested(self.absmax_block, absmax, offset)
    }
}

/// `key=value` words. What is not taken is an error.
struct Keys<'a>(HashMap<&'a str, &'a str>);

impl<'a> Keys<'a> {
    fn new(words: &[&'a str]) -> Self {
        let pairs = words.iter().map(|word| word.split_once('=').unwrap_or_else(|| panic!("{word:?} is no key=value")));
        Self(pairs.collect())
    }

    fn text(&mut self, key: &str) -> &'a str {
        self.0.remove(key).unwrap_or_else(|| panic!("{key}= is missing"))
    }

    fn take<T: std::str::FromStr<Err: std::fmt::Debug>>(&mut self, key: &str) -> T {
        let text = self.text(key);
        text.parse().unwrap_or_else(|error| panic!("{key}={text}: {error:?}"))
    }

    fn end(self) {
        assert!(self.0.is_empty(), "unknown keys: {:?}", self.0.keys());
    }
}

#[derive(Clone, Copy)]
struct Choice {
    method: Selection,
    scope: Scope,
    random: Random,
    density: f64,
    budget: u64,
    rank: u64,
    seed: u64,
    model_scalars: u64,
    approximation_rank: u64,
    mean: Mean,
    threshold: f64,
}

#[derive(Default)]
struct Player {
    folder: PathBuf,
    /// Before the context and the memory, as they borrow nothing that the compiler sees.
    adapter: Option<Adapter>,
    bases: HashMap<usize, Basis>,
    context: Option<Context>,
    parameters: Vec<Parameter>,
    choice: Option<Choice>,
    schedule: Option<Schedule>,
    optimizer: Option<(OptimizerOptions, DeltaType)>,
    memory: Vec<Array>,
    /// Of quantized parameters, in place of their memory.
    codes: HashMap<usize, Codes>,
}

impl Player {
    fn array(&self, file: &str) -> Array {
        Array::read(&self.folder.join(file))
    }

    fn adapter(&mut self) -> &mut Adapter {
        self.adapter.as_mut().expect("created")
    }

    fn context(&self) -> &Context {
        self.context.as_ref().expect("a context")
    }

    fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["context", keys @ ..] => {
                let mut keys = Keys::new(keys);
                let threads = keys.take("threads");
                keys.end();
                self.context = Some(Context::builder().backend("cpu").threads(threads).build().unwrap());
            }
            ["parameter", keys @ ..] => {
                let mut keys = Keys::new(keys);
                let shape: Vec<usize> = keys.text("shape").split(',').map(|size| size.parse().unwrap()).collect();
                let (name, role, data_type) = (keys.text("name"), keys.take("role"), keys.take("dtype"));
                keys.end();
                self.parameters.push(match role {
                    Role::Sparse => Parameter::sparse(name, shape, data_type),
                    Role::Dense => Parameter::dense(name, shape, data_type),
                    other => panic!("a case has no role {other}"),
                });
            }
            ["selection", keys @ ..] => {
                let mut keys = Keys::new(keys);
                self.choice = Some(Choice {
                    method: keys.take("method"),
                    scope: keys.take("scope"),
                    random: keys.take("random"),
                    density: keys.take("density"),
                    budget: keys.take("budget"),
                    rank: keys.take("rank"),
                    seed: keys.take("seed"),
                    model_scalars: keys.take("model_scalars"),
                    approximation_rank: keys.take("approximation_rank"),
                    mean: keys.take("mean"),
                    threshold: keys.take("threshold"),
                });
                keys.end();
            }
            ["schedule", keys @ ..] => self.schedule = Some(schedule(Keys::new(keys))),
            ["optimizer", keys @ ..] => {
                let mut keys = Keys::new(keys);
                let options = OptimizerOptions::new(keys.take("kind")).age(keys.take("age")).state(keys.take("state"));
                self.optimizer = Some((options, keys.take("delta_type")));
                keys.end();
            }
            ["create"] => self.create(),
            ["bind", parameter, file] => {
                assert_eq!(index(parameter), self.memory.len());
                self.memory.push(self.array(file));
                self.bind(index(parameter));
            }
            ["bind-quantized", parameter, keys @ ..] => {
                assert_eq!(index(parameter), self.memory.len());
                self.memory.push(Array { words: Vec::new(), bytes: 0 });
                let mut keys = Keys::new(keys);
                let nested = keys.0.remove("absmax_absmax").map(|file| self.array(file));
                let codes = Codes {
                    kind: keys.take("kind"),
                    block: keys.take("block"),
                    absmax_block: keys.take("absmax_block"),
                    codes: self.array(keys.text("codes")),
                    absmax: self.array(keys.text("absmax")),
                    nested: nested.map(|absmax| [absmax, self.array(keys.text("absmax_offset"))]),
                };
                keys.end();
                self.codes.insert(index(parameter), codes);
                self.bind(index(parameter));
            }
            ["mask", parameter, file] => {
                let array = self.array(file);
                self.adapter().set_mask(index(parameter), array.elements()).unwrap();
            }
            ["scores", parameter, file] => {
                let array = self.array(file);
                let shape = self.parameters[index(parameter)].shape().to_vec();
                self.adapter().set_scores(index(parameter), &array.view(DataType::Float32, &shape)).unwrap();
            }
            ["reference", parameter, file] => {
                let array = self.array(file);
                let known = self.parameters[index(parameter)].clone();
                let view = array.view(known.data_type(), known.shape());
                self.adapter().set_reference(index(parameter), &view).unwrap();
            }
            ["basis", parameter, keys @ ..] => {
                let mut keys = Keys::new(keys);
                let shape = self.parameters[index(parameter)].shape();
                let basis = Basis::builder(self.context(), shape[0], shape[1])
                    .row_directions(keys.take("row_directions"))
                    .column_directions(keys.take("column_directions"))
                    .build();
                keys.end();
                self.bases.insert(index(parameter), basis.unwrap());
            }
            ["observe-basis", parameter, gradient @ ..] => {
                let mut basis = self.bases.remove(&index(parameter)).expect("a basis");
                self.with_gradient(index(parameter), gradient, |_, gradient| basis.observe(gradient));
                self.bases.insert(index(parameter), basis);
            }
            ["fit-basis", parameter] => self.bases.get_mut(&index(parameter)).expect("a basis").fit().unwrap(),
            ["bind-basis", parameter] => {
                let adapter = self.adapter.as_mut().expect("created");
                adapter.bind_basis(index(parameter), Some(&self.bases[&index(parameter)])).unwrap();
            }
            ["begin", weight] => self.adapter().begin_observation(weight.parse().unwrap()).unwrap(),
            ["finish", weight] => self.adapter().finish_observation(weight.parse().unwrap()).unwrap(),
            ["observe", parameter, gradient @ ..] => {
                self.with_gradient(index(parameter), gradient, |adapter, gradient| {
                    adapter.observe(index(parameter), gradient)
                });
            }
            ["accumulate", parameter, gradient @ ..] => {
                self.with_gradient(index(parameter), gradient, |adapter, gradient| {
                    adapter.accumulate(index(parameter), gradient)
                });
            }
            ["select"] => self.adapter().select().unwrap(),
            ["clip", norm] => _ = self.adapter().clip_gradient(norm.parse().unwrap()).unwrap(),
            ["step", keys @ ..] => {
                let mut keys = Keys::new(keys);
                let all = Hyperparameters::new()
                    .learning_rate(keys.take("lr"))
                    .betas(keys.take("beta1"), keys.take("beta2"))
                    .epsilon(keys.take("eps"))
                    .weight_decay(keys.take("weight_decay"))
                    .decay(keys.take("decay"))
                    .momentum(keys.take("momentum"));
                keys.end();
                self.adapter().step(all).unwrap();
            }
            ["reselect"] => _ = self.adapter().reselect().unwrap(),
            ["unmerge"] => self.adapter().unmerge().unwrap(),
            ["attach"] => self.adapter().attach().unwrap(),
            ["merge"] => self.adapter().merge().unwrap(),
            ["reload", format] => {
                self.adapter().unmerge().unwrap();
                let mut file = Vec::new();
                let options = SaveOptions::new().format(format.parse().unwrap());
                self.adapter().save_with(&mut file, options).unwrap();
                self.adapter = None;
                self.resume(Adapter::load(self.context(), Source::Bytes(&file)).unwrap());
            }
            ["checkpoint"] => {
                let mut file = Vec::new();
                self.adapter().save_checkpoint_with(&mut file, SaveOptions::new()).unwrap();
                self.adapter = None;
                self.resume(Adapter::load_checkpoint(self.context(), Source::Bytes(&file)).unwrap());
            }
            ["expect-mask", parameter, file] => {
                let expected = self.array(file);
                assert_eq!(self.adapter().mask(index(parameter)).unwrap(), expected.elements::<i64>());
            }
            ["expect-moved", parameter, which, file] => {
                let expected = self.array(file);
                let which = match *which {
                    "dropped" => Moved::Dropped,
                    "grown" => Moved::Grown,
                    other => panic!("a reselection has no {other}"),
                };
                assert_eq!(self.adapter().moved(index(parameter), which).unwrap(), expected.elements::<i64>());
            }
            ["expect-deltas", parameter, file] => {
                let expected = self.array(file);
                let deltas = bytes(&self.adapter().deltas(index(parameter)).unwrap());
                assert_eq!(deltas, expected.elements::<u8>());
            }
            ["expect-gradient", parameter, file] => {
                let expected = self.array(file);
                let gradient = bytes(&self.adapter().gradient(index(parameter)).unwrap().as_view());
                assert_eq!(gradient, expected.elements::<u8>());
            }
            ["expect-weights", parameter, file] => {
                let expected = self.array(file);
                assert_eq!(self.memory[index(parameter)].elements::<u8>(), expected.elements::<u8>());
            }
            ["expect-quantized", parameter, keys @ ..] => {
                let mut keys = Keys::new(keys);
                let codes = &self.codes[&index(parameter)];
                assert_eq!(codes.codes.elements::<u8>(), self.array(keys.text("codes")).elements::<u8>());
                assert_eq!(codes.absmax.elements::<u8>(), self.array(keys.text("absmax")).elements::<u8>());
                if let Some([absmax, offset]) = &codes.nested {
                    assert_eq!(absmax.elements::<u8>(), self.array(keys.text("absmax_absmax")).elements::<u8>());
                    assert_eq!(offset.elements::<u8>(), self.array(keys.text("absmax_offset")).elements::<u8>());
                }
                keys.end();
            }
            ["expect-requantization", parameter, keys @ ..] => {
                let mut keys = Keys::new(keys);
                let done = self.adapter().requantization(index(parameter)).unwrap();
                assert_eq!(done.deltas, keys.take::<i64>("deltas"));
                assert_eq!(done.changed, keys.take::<i64>("changed"));
                assert_eq!(done.relative_error, keys.take::<f64>("relative_error"));
                keys.end();
            }
            ["expect-basis", parameter, keys @ ..] => {
                let mut keys = Keys::new(keys);
                let (u, v) = self.bases[&index(parameter)].matrices().unwrap();
                assert_eq!(bytes(&u), self.array(keys.text("u")).elements::<u8>());
                assert_eq!(bytes(&v), self.array(keys.text("v")).elements::<u8>());
                keys.end();
            }
            ["expect-linear", parameter, keys @ ..] => {
                let mut keys = Keys::new(keys);
                let tokens: usize = keys.take("tokens");
                let (x, expected) = (self.array(keys.text("x")), self.array(keys.text("y")));
                keys.end();
                let known = self.parameters[index(parameter)].clone();
                let x = x.view(known.data_type(), &[tokens, known.shape()[1]]);
                let mut y = Array { words: vec![0; expected.words.len()], bytes: expected.bytes };
                // SAFETY: the array has as many bytes, and nobody else sees it before the call is over.
                let mut out = unsafe { TensorViewMut::from_raw(y.raw(known.data_type(), &[tokens, known.shape()[0]])) };
                self.adapter().linear_forward(index(parameter), LinearOptions::new(), &x, &mut out).unwrap();
                assert_eq!(y.elements::<u8>(), expected.elements::<u8>());
            }
            other => panic!("unknown command: {other:?}"),
        }
    }

    fn create(&mut self) {
        let choice = self.choice.expect("a selection");
        let (optimizer, delta_type) = self.optimizer.expect("an optimizer");
        let mut builder = Adapter::builder(self.context())
            .parameters(self.parameters.iter().cloned())
            .selection(choice.method)
            .scope(choice.scope)
            .random(choice.random)
            .seed(choice.seed)
            .mean(choice.mean)
            .optimizer(optimizer)
            .delta_type(delta_type);
        if choice.density != 0.0 {
            builder = builder.density(choice.density);
        }
        if choice.threshold != 0.0 {
            builder = builder.threshold(choice.threshold);
        }
        builder = given(builder, choice.budget, AdapterBuilder::budget);
        builder = given(builder, choice.rank, AdapterBuilder::rank);
        builder = given(builder, choice.model_scalars, AdapterBuilder::model_scalars);
        builder = given(builder, choice.approximation_rank, AdapterBuilder::approximation_rank);
        if let Some(schedule) = self.schedule.clone() {
            builder = builder.schedule(schedule);
        }
        let adapter = builder.build().unwrap();
        self.adapter = Some(adapter);
    }

    fn bind(&mut self, parameter: usize) {
        let known = &self.parameters[parameter];
        if let Some(codes) = self.codes.get_mut(&parameter) {
            // SAFETY: as below.
            let bound = unsafe {
                let weights = codes.view(known.shape());
                self.adapter.as_mut().expect("created").bind_quantized(parameter, &weights)
            };
            return bound.unwrap();
        }
        let raw = self.memory[parameter].raw(known.data_type(), known.shape());
        // SAFETY: the memory is the player's, stays where it is, and outlives the adapter; nobody else uses it during
        // a call.
        unsafe { self.adapter.as_mut().expect("created").bind_raw(parameter, &raw) }.unwrap();
    }

    fn resume(&mut self, adapter: Adapter) {
        assert_eq!(adapter.parameters(), self.parameters);
        self.adapter = Some(adapter);
        for parameter in 0..self.memory.len() {
            self.bind(parameter);
        }
        self.adapter().merge().unwrap();
    }

    fn with_gradient(
        &mut self,
        parameter: usize,
        words: &[&str],
        take: impl FnOnce(&mut Adapter, &Gradient<'_>) -> Result<()>,
    ) {
        let known = self.parameters[parameter].clone();
        let (data_type, shape) = (known.data_type(), known.shape());
        match words {
            ["dense", file] => {
                let dense = self.array(file);
                take(self.adapter(), &Gradient::dense(dense.view(data_type, shape)))
            }
            ["values", file] => {
                let values = self.array(file);
                take(self.adapter(), &Gradient::values(values.elements::<f32>().into()))
            }
            ["activations", keys @ ..] => {
                let mut keys = Keys::new(keys);
                let tokens: usize = keys.take("tokens");
                let layout = keys.take("layout");
                let (rows, columns) = (shape[0], shape[1]);
                let (outputs, inputs) = if layout == Layout::OutIn { (rows, columns) } else { (columns, rows) };
                let (x, dy) = (self.array(keys.text("x")), self.array(keys.text("dy")));
                let offsets = keys.0.remove("example_offsets").map(|file| self.array(file));
                let x = x.view(data_type, &[tokens, inputs]);
                let dy = dy.view(data_type, &[tokens, outputs]);
                let mut gradient = Gradient::activations(x, dy).layout(layout).scale(keys.take("scale"));
                if let Some(offsets) = &offsets {
                    gradient = gradient.example_offsets(offsets.elements());
                }
                keys.end();
                take(self.adapter(), &gradient)
            }
            other => panic!("unknown gradient: {other:?}"),
        }
        .unwrap();
    }
}

fn index(word: &str) -> usize {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no position"))
}

/// A case says "not given" by 0.
fn given<B>(builder: B, value: u64, set: impl FnOnce(B, u64) -> B) -> B {
    if value == 0 { builder } else { set(builder, value) }
}

fn schedule(mut keys: Keys<'_>) -> Schedule {
    let mut schedule = Schedule::new()
        .curve(keys.take("schedule"))
        .drop_by(keys.take("drop"))
        .keep_moments(keys.take::<i32>("keep_moments") != 0)
        .track_moves(keys.take::<i32>("track_moves") != 0);
    let rate: f64 = keys.take("rate");
    if rate != 0.0 {
        schedule = schedule.rate(rate);
    }
    schedule = given(schedule, keys.take("total_steps"), Schedule::total_steps);
    schedule = given(schedule, keys.take("reselect_every"), Schedule::reselect_every);
    schedule = given(schedule, keys.take("window"), Schedule::window);
    schedule = given(schedule, keys.take("candidates"), Schedule::candidates);
    schedule = given(schedule, keys.take("settled_limit"), Schedule::settled_limit);
    keys.end();
    schedule
}

#[test]
fn recorded_cases_play_to_the_same_bits() {
    let Some(folder) = std::env::var_os("SPEFT_PARITY_CASES") else {
        eprintln!("skipped: SPEFT_PARITY_CASES is not set");
        return;
    };
    let cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("SPEFT_PARITY_CASES={}: {error}", Path::new(&folder).display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.txt").is_file())
        .collect();
    assert!(!cases.is_empty(), "SPEFT_PARITY_CASES={} has no cases", Path::new(&folder).display());
    for case in cases {
        let text = std::fs::read_to_string(case.join("case.txt")).unwrap();
        let mut player = Player { folder: case.clone(), ..Player::default() };
        for (number, line) in text.lines().enumerate() {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| player.play(line)));
            if let Err(panic) = played {
                eprintln!("{}:{}: {line}", case.join("case.txt").display(), number + 1);
                std::panic::resume_unwind(panic);
            }
        }
    }
}
