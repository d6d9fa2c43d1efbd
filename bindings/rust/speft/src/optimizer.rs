//! How the selected scalars move.

use speft_sys as sys;

use crate::error::{Error, Result};
use crate::native::defaults;
use crate::options::{Age, Decay, Optimizer, State};

/// Which optimizer, and what it keeps. Fixed when the adapter is made.
///
/// ```
/// use speft::{Optimizer, OptimizerOptions, State};
///
/// let options = OptimizerOptions::new(Optimizer::AdamW).state(State::Blocks8);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OptimizerOptions(sys::speft_optimizer_options);

impl OptimizerOptions {
    /// With a common age and float32 moments.
    pub fn new(optimizer: Optimizer) -> Self {
        let mut native: sys::speft_optimizer_options = defaults!(speft_optimizer_options_init);
        native.kind = optimizer.code();
        Self(native)
    }

    /// Whose updates AdamW and Adam count.
    pub fn age(mut self, age: Age) -> Self {
        self.0.age = age.code();
        self
    }

    /// How moments and velocities are kept.
    pub fn state(mut self, state: State) -> Self {
        self.0.state = state.code();
        self
    }

    pub(crate) fn native(&self) -> &sys::speft_optimizer_options {
        &self.0
    }
}

impl From<Optimizer> for OptimizerOptions {
    fn from(optimizer: Optimizer) -> Self {
        Self::new(optimizer)
    }
}

/// How one group of parameters moves in a step. Without more: learning rate 1e-3, betas 0.9 and 0.999, ε 1e-8, no decay,
/// no momentum.
///
/// ```
/// use speft::{Decay, Hyperparameters};
///
/// let hyperparameters = Hyperparameters::new().learning_rate(5e-4).weight_decay(0.01).decay(Decay::Zero);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hyperparameters(sys::speft_hyperparameters);

impl Hyperparameters {
    /// The defaults.
    pub fn new() -> Self {
        Self(defaults!(speft_hyperparameters_init))
    }

    /// The learning rate.
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.0.learning_rate = learning_rate;
        self
    }

    /// AdamW's, Adam's and Lion's decay of the first and second moment.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.0.beta1, self.0.beta2) = (beta1, beta2);
        self
    }

    /// AdamW's and Adam's, added to the root of the second moment.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.0.epsilon = epsilon;
        self
    }

    /// The strength of weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.0.weight_decay = weight_decay;
        self
    }

    /// What weight decay pulls to.
    pub fn decay(mut self, decay: Decay) -> Self {
        self.0.decay = decay.code();
        self
    }

    /// SGD's, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.0.momentum = momentum;
        self
    }
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self::new()
    }
}

/// One update: the hyperparameters of each group, and what becomes of the gradient. [`Hyperparameters`] alone are one
/// too.
///
/// ```
/// use speft::{Hyperparameters, StepOptions};
///
/// let backbone = Hyperparameters::new().learning_rate(1e-3);
/// let head = backbone.learning_rate(1e-2);
/// let step = StepOptions::new().group(backbone).group(head).gradient_scale(0.25);
/// ```
#[derive(Clone, Debug)]
pub struct StepOptions {
    groups: Vec<Hyperparameters>,
    keep_gradient: bool,
    allow_missing: bool,
    gradient_scale: f64,
}

impl StepOptions {
    /// The default hyperparameters for all.
    pub fn new() -> Self {
        Self { groups: Vec::new(), keep_gradient: false, allow_missing: false, gradient_scale: 1.0 }
    }

    /// Adds the hyperparameters of the next group, from 0 on.
    pub fn group(mut self, hyperparameters: Hyperparameters) -> Self {
        self.groups.push(hyperparameters);
        self
    }

    /// Whether the gradient stays after the step, for hosts that clear by themselves.
    pub fn keep_gradient(mut self, keep: bool) -> Self {
        self.keep_gradient = keep;
        self
    }

    /// Whether a parameter that has never received a gradient since the selection is skipped; otherwise it is an error
    /// that names it.
    pub fn allow_missing(mut self, allow: bool) -> Self {
        self.allow_missing = allow;
        self
    }

    /// Multiplies every gradient. Not 0.
    pub fn gradient_scale(mut self, scale: f64) -> Self {
        self.gradient_scale = scale;
        self
    }

    /// Runs `call` with C's struct.
    pub(crate) fn with_native<R>(&self, call: impl FnOnce(*const sys::speft_step_options) -> Result<R>) -> Result<R> {
        if self.gradient_scale == 0.0 {
            return Err(Error::refuse("gradient_scale must not be 0")); // which C takes for 1
        }
        let groups: Vec<*const sys::speft_hyperparameters> =
            self.groups.iter().map(|group| &raw const group.0).collect();
        let mut options: sys::speft_step_options = defaults!(speft_step_options_init);
        options.keep_gradient = self.keep_gradient.into();
        options.allow_missing = self.allow_missing.into();
        options.gradient_scale = self.gradient_scale;
        if !groups.is_empty() {
            options.groups = groups.as_ptr();
            options.group_count = groups.len() as i32;
        }
        call(&options)
    }
}

impl Default for StepOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Hyperparameters> for StepOptions {
    fn from(hyperparameters: Hyperparameters) -> Self {
        Self::new().group(hyperparameters)
    }
}

impl From<&Self> for StepOptions {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}
