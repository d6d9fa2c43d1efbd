//! What an adapter is made of.

use std::ops::ControlFlow;

use speft_sys as sys;

use crate::adapter::{Adapter, Callbacks};
use crate::basis::PlannedBasis;
use crate::communicator::{Communicator, Link};
use crate::context::Context;
use crate::error::{Error, Result, call};
use crate::native::{defaults, empty};
use crate::optimizer::OptimizerOptions;
use crate::options::{DeltaType, DropBy, Mean, Random, Rate, Scope, Selection};
use crate::parameter::{NativeParameters, Parameter};
use crate::score::{ScoreFunction, Scorer, Scoring};

/// C says "not given" by 0, so that a 0 that was given is refused here.
fn count(argument: &str, value: u64, refusal: &mut Option<String>) -> i64 {
    let count = i64::try_from(value).unwrap_or(0);
    if count == 0 {
        refusal.get_or_insert(format!("{argument} must be at least 1 and below 2^63; got {value}"));
    }
    count
}

/// How masks move while training, in steps t = 1, 2, …; what is not said has the method's default.
///
/// ```
/// use speft::{Rate, Schedule};
///
/// let schedule = Schedule::new().total_steps(1000).reselect_every(50).rate(0.3).curve(Rate::Cosine);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    native: sys::speft_schedule_options,
    refusal: Option<String>,
}

impl Schedule {
    /// SpIEL's defaults; SparseGrad and MeProp choose at each step; masks of other methods stay, until
    /// [`reselect_every`](Self::reselect_every) is said.
    pub fn new() -> Self {
        Self { native: defaults!(speft_schedule_options_init), refusal: None }
    }

    /// T: how many steps training has. Nothing moves at or after it.
    pub fn total_steps(mut self, steps: u64) -> Self {
        self.native.total_steps = count("total_steps", steps, &mut self.refusal);
        self
    }

    /// A reselection every so many steps; of SparseGrad and MeProp that is 1.
    pub fn reselect_every(mut self, steps: u64) -> Self {
        self.native.reselect_every = count("reselect_every", steps, &mut self.refusal);
        self
    }

    /// SpIEL's γ: the steps over which gradients of candidates are taken.
    pub fn window(mut self, steps: u64) -> Self {
        self.native.window = count("window", steps, &mut self.refusal);
        self
    }

    /// SpIEL's ξ, in (0, 1]: the share of the selected scalars that is replaced.
    pub fn rate(mut self, rate: f64) -> Self {
        if rate == 0.0 {
            self.refusal.get_or_insert("rate must be in (0, 1]; got 0".into());
        }
        self.native.rate = rate;
        self
    }

    /// SpIEL's: how the share falls. [`Rate::None`] also of SparseGrad and MeProp: they choose once.
    pub fn curve(mut self, curve: Rate) -> Self {
        self.native.schedule = curve.code();
        self
    }

    /// SpIEL-AG's K: how many scalars of all parameters together can grow.
    pub fn candidates(mut self, candidates: u64) -> Self {
        self.native.candidates = count("candidates", candidates, &mut self.refusal);
        self
    }

    /// SpIEL's: which scalars are dropped.
    pub fn drop_by(mut self, drop: DropBy) -> Self {
        self.native.drop = drop.code();
        self
    }

    /// Whether scalars that stay selected keep their moments and ages. SpIEL always does.
    pub fn keep_moments(mut self, keep: bool) -> Self {
        self.native.keep_moments = keep.into();
        self
    }

    /// The most settled scalars; of more, those with the least |δ| regain their original bits. Of SparseGrad and MeProp:
    /// the most scalars of the mask beside those of the step.
    pub fn settled_limit(mut self, limit: u64) -> Self {
        self.native.settled_limit = count("settled_limit", limit, &mut self.refusal);
        self
    }

    /// Whether [`Adapter::moved`] tells what the last reselection moved.
    pub fn track_moves(mut self, track: bool) -> Self {
        self.native.track_moves = track.into();
        self
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

/// The most that an adapter has at one time, in bytes of the context's device, its scratch included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// While gradients are observed, two accumulators a sparse parameter.
    pub observation: u64,
    /// The same where [`Adapter::begin_observation`] announces each batch: one of them.
    pub announced_observation: u64,
    /// While [`Adapter::select`] runs, after announced observations.
    pub selection: u64,
    /// From the selection on.
    pub training: u64,
    /// While [`Adapter::reselect`] runs; 0 where masks do not move.
    pub reselection: u64,
    /// While bases are made: observed, fitted and bound, and none is dropped; 0 without bases.
    pub fitting: u64,
    /// While [`Adapter::linear_forward`] or [`Adapter::linear_backward`] runs, and gradients of the other parameters
    /// are held.
    pub products: u64,
    /// While an adapter with bases is merged, and as long as it is; 0 without bases.
    pub merging: u64,
}

/// How an [`Adapter`] is made: its parameters, how its masks are chosen and may move, its optimizer.
///
/// Without more it is [`Selection::Gradient`] over all parameters together, AdamW and float32 deltas. Exactly one of
/// [`density`](Self::density), [`budget`](Self::budget) and [`rank`](Self::rank) is said, but for given masks, which
/// need none.
#[must_use]
pub struct AdapterBuilder<'a> {
    context: &'a Context,
    parameters: Vec<Parameter>,
    selection: sys::speft_selection_options,
    schedule: Option<sys::speft_schedule_options>,
    optimizer: Option<OptimizerOptions>,
    delta_type: DeltaType,
    score: Option<ScoreFunction>,
    communicator: Option<Box<dyn Communicator>>,
    refusal: Option<String>,
}

impl<'a> AdapterBuilder<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self {
            context,
            parameters: Vec::new(),
            selection: defaults!(speft_selection_options_init),
            schedule: None,
            optimizer: None,
            delta_type: DeltaType::Float32,
            score: None,
            communicator: None,
            refusal: None,
        }
    }

    /// Adds a parameter, after those that are there.
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds parameters, after those that are there.
    pub fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// How the masks are chosen.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection.method = selection.code();
        self
    }

    /// What is ranked together.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.selection.scope = scope.code();
        self
    }

    /// How random masks are drawn.
    pub fn random(mut self, random: Random) -> Self {
        self.selection.random = random.code();
        self
    }

    /// Selected scalars over all scalars of the sparse parameters, in (0, 1].
    pub fn density(mut self, density: f64) -> Self {
        if density == 0.0 {
            self.refusal.get_or_insert("density must be in (0, 1]; got 0".into());
        }
        self.selection.density = density;
        self
    }

    /// How many scalars are selected: of all together, of each parameter or of each row, as the scope says.
    pub fn budget(mut self, budget: u64) -> Self {
        self.selection.budget = count("budget", budget, &mut self.refusal);
        self
    }

    /// As many scalars as low-rank factors of this rank would have.
    pub fn rank(mut self, rank: u64) -> Self {
        self.selection.rank = count("rank", rank, &mut self.refusal);
        self
    }

    /// The density is a fraction of this many scalars, those of the whole model say.
    pub fn model_scalars(mut self, scalars: u64) -> Self {
        self.selection.model_scalars = count("model_scalars", scalars, &mut self.refusal);
        self
    }

    /// For random masks, and for random rounding.
    pub fn seed(mut self, seed: u64) -> Self {
        self.selection.seed = seed;
        self
    }

    /// The rank of [`Selection::LowRank`]'s approximation; 128 unless it is said.
    pub fn approximation_rank(mut self, rank: u64) -> Self {
        self.selection.approximation_rank = count("approximation_rank", rank, &mut self.refusal);
        self
    }

    /// Which mean of gradients [`Selection::Gradient`] and [`Selection::Snip`] take.
    pub fn mean(mut self, mean: Mean) -> Self {
        self.selection.mean = mean.code();
        self
    }

    /// Of SparseGrad and MeProp, where each step selects: of the k largest |g| only those of at least this size, above
    /// 0. The gradient is as accumulated, before any clipping.
    pub fn threshold(mut self, threshold: f64) -> Self {
        if threshold == 0.0 {
            self.refusal.get_or_insert("threshold must be above 0; got 0".into());
        }
        self.selection.threshold = threshold;
        self
    }

    /// Chooses by scores of the host's own ([`Selection::ScoreFunction`]): called once for each sparse parameter while
    /// a selection runs.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// use std::ops::ControlFlow;
    ///
    /// let mut adapter = Adapter::builder(&context)
    ///     .parameter(Parameter::sparse("w", [4], DataType::Float32))
    ///     .budget(1)
    ///     .score_function(|mut scoring| {
    ///         let (Ok(weights), Ok(scores)) = (scoring.weights.as_slice::<f32>(), scoring.scores.as_mut_slice::<f32>())
    ///         else { return ControlFlow::Break(()) };
    ///         scores.iter_mut().zip(weights).for_each(|(score, weight)| *score = -weight);
    ///         ControlFlow::Continue(())
    ///     })
    ///     .build()?;
    /// let mut weights = [0.5_f32, -2.0, 1.0, 3.0];
    /// adapter.bind([weights[..].as_mut().into()])?.select()?;
    /// assert_eq!(adapter.mask("w")?, [1]);
    /// # speft::Result::Ok(())
    /// ```
    pub fn score_function(mut self, score: impl FnMut(Scoring<'_>) -> ControlFlow<()> + Send + 'static) -> Self {
        self.selection.method = Selection::ScoreFunction.code();
        self.score = Some(Box::new(score));
        self
    }

    /// How masks move while training.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule.native);
        if let Some(refusal) = schedule.refusal {
            self.refusal.get_or_insert(refusal);
        }
        self
    }

    /// How the selected scalars move: an [`Optimizer`](crate::Optimizer), or [`OptimizerOptions`].
    pub fn optimizer(mut self, optimizer: impl Into<OptimizerOptions>) -> Self {
        self.optimizer = Some(optimizer.into());
        self
    }

    /// How deltas are kept.
    pub fn delta_type(mut self, delta_type: DeltaType) -> Self {
        self.delta_type = delta_type;
        self
    }

    /// How several processes talk. `Unsupported` in this version where there is more than one.
    pub fn communicator(mut self, communicator: impl Communicator + 'static) -> Self {
        self.communicator = Some(Box::new(communicator));
        self
    }

    /// Makes it. Everything is copied.
    ///
    /// # Errors
    /// `InvalidArgument` names the parameter or option; `Unsupported` names what this version does not have.
    pub fn build(mut self) -> Result<Adapter> {
        let (score, native_score) = self.score.take().map(|score| Scorer::pin(score, &self.context.host)).unzip();
        let (communicator, native_communicator) =
            self.communicator.take().map(|link| Link::pin(link, &self.context.host)).unzip();
        let mut handle = std::ptr::null_mut();
        let answer = self.with_native(native_score.as_ref(), native_communicator.as_ref(), |options, parameters| {
            // SAFETY: the context lives; the structs live through the call, and what callbacks use in the adapter.
            call(|error| unsafe {
                let (pointers, count) = (parameters.pointers(), parameters.count());
                sys::speft_create_adapter(self.context.as_ptr(), options, pointers, count, &mut handle, error)
            })
        });
        Adapter::open(answer, handle, &self.context.host, Callbacks { _score: score, _communicator: communicator })
    }

    /// What the adapter would need, before it is made.
    ///
    /// ```
    /// # use speft::*;
    /// # let context = Context::new()?;
    /// let builder = Adapter::builder(&context)
    ///     .parameter(Parameter::sparse("w", [384, 384], DataType::Float32))
    ///     .density(0.005);
    /// let plan = builder.plan_memory(0)?;
    /// assert!(plan.observation > plan.announced_observation);
    /// let adapter = builder.build()?;
    /// # speft::Result::Ok(())
    /// ```
    ///
    /// `tokens` are the most that one gradient from activations will have; 0 for any
    /// number. Nothing is allocated on the device.
    ///
    /// # Errors
    /// As of [`build`](Self::build); `InvalidArgument` for given masks, which have no size yet.
    pub fn plan_memory(&self, tokens: u64) -> Result<MemoryPlan> {
        self.plan_memory_in_bases(tokens, &[])
    }

    /// The same for [`Selection::Sparsegrad`], which needs a basis for each of its sparse parameters.
    ///
    /// # Errors
    /// As of [`plan_memory`](Self::plan_memory); `InvalidArgument` for a parameter without a basis or with two.
    pub fn plan_memory_in_bases(&self, tokens: u64, bases: &[PlannedBasis]) -> Result<MemoryPlan> {
        let mut plan = empty!(speft_memory_plan);
        plan.tokens = crate::error::to_i64("tokens", tokens)?;
        let planned = NativeBases::new(bases, &self.parameters)?;
        plan.bases = planned.pointers();
        // A plan calls nothing, but wants to see that there is a function.
        let score = self.score.as_ref().map(|_| Scorer::pin(Box::new(|_| ControlFlow::Break(())), &self.context.host));
        self.with_native(score.as_ref().map(|(_, native)| native), None, |options, parameters| {
            // SAFETY: the context lives; the structs live through the call; the plan tells its size.
            self.context.host.call(|error| unsafe {
                let (pointers, count) = (parameters.pointers(), parameters.count());
                sys::speft_plan_memory(self.context.as_ptr(), options, pointers, count, &mut plan, error)
            })
        })?;
        Ok(MemoryPlan {
            observation: plan.observation,
            announced_observation: plan.announced_observation,
            selection: plan.selection,
            training: plan.training,
            reselection: plan.reselection,
            fitting: plan.fitting,
            products: plan.products,
            merging: plan.merging,
        })
    }

    /// Runs `call` with C's structs.
    fn with_native(
        &self,
        score: Option<&sys::speft_score_function>,
        communicator: Option<&sys::speft_communicator>,
        call: impl FnOnce(*const sys::speft_adapter_options, &NativeParameters) -> Result<()>,
    ) -> Result<()> {
        if let Some(refusal) = &self.refusal {
            return Err(Error::refuse(refusal.clone()));
        }
        let parameters = NativeParameters::new(&self.parameters)?;
        let mut selection = self.selection;
        selection.schedule = pointer(self.schedule.as_ref());
        selection.score = pointer(score);
        let mut options: sys::speft_adapter_options = defaults!(speft_adapter_options_init);
        options.delta_type = self.delta_type.code();
        options.selection = &selection;
        options.optimizer = pointer(self.optimizer.as_ref().map(OptimizerOptions::native));
        options.communicator = pointer(communicator);
        call(&options, &parameters)
    }
}

/// What a plan takes: of each parameter its basis, or null.
struct NativeBases {
    pointers: Vec<*const sys::speft_basis_options>,
    /// What the pointers show; it never grows.
    _structs: Vec<sys::speft_basis_options>,
}

impl NativeBases {
    fn new(bases: &[PlannedBasis], parameters: &[Parameter]) -> Result<Self> {
        let of = |position: usize| {
            let missing = || Error::refuse(format!("bases: there is no parameter {position}"));
            parameters.get(position).ok_or_else(missing)
        };
        let used: Vec<_> = bases.iter().filter(|basis| !basis.parameters.is_empty()).collect();
        let structs =
            used.iter().map(|basis| basis.native(of(basis.parameters[0])?.shape())).collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<*const sys::speft_basis_options> =
            vec![std::ptr::null(); if used.is_empty() { 0 } else { parameters.len() }];
        for (basis, native) in used.iter().zip(&structs) {
            for &position in &basis.parameters {
                of(position)?;
                if !pointers[position].is_null() {
                    return Err(Error::refuse(format!("bases: parameter {position} has two")));
                }
                pointers[position] = &raw const *native;
            }
        }
        Ok(Self { pointers, _structs: structs })
    }

    fn pointers(&self) -> *const *const sys::speft_basis_options {
        if self.pointers.is_empty() { std::ptr::null() } else { self.pointers.as_ptr() }
    }
}

fn pointer<T>(reference: Option<&T>) -> *const T {
    reference.map_or(std::ptr::null(), std::ptr::from_ref)
}

impl std::fmt::Debug for AdapterBuilder<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AdapterBuilder").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}
