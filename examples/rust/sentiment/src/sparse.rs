//! A sparse adapter on the model: every call into libspeft is here.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use speft::{
    Adapter, Bound, Context, DataType, Gradient, Hyperparameters, Parameter, Schedule, Scope, Selection, TensorView,
};

use crate::errors::{Result, input_error};
use crate::lend::lend;
use crate::linear::GradientSink;
use crate::methods::Method;
use crate::model::Classifier;
use crate::settings::{MethodName, Settings};
use crate::values::with_values;

/// A few chosen scalars of the targeted matrices; the head is trained in full beside them, by the same optimizer.
pub struct Sparse {
    adapter: Arc<Shared>,
    /// The adapter's parameters in its order: the targets, then the head.
    vars: Vec<Var>,
    /// Of which the first so many are targets.
    targets: usize,
    observes: bool,
    reselections: usize,
}

/// The adapter of the training loop and of the layers' backward pass. Both are on one thread, but candle's custom
/// operations have to be `Sync`.
struct Shared(Mutex<Adapter>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Adapter> {
        self.0.lock().expect("nothing panics while it holds the adapter")
    }
}

/// Called in the middle of candle's backward pass: x and dy are lent to libspeft, which takes from their product what
/// its mask or its selection needs.
impl GradientSink for Shared {
    fn receive(&self, parameter: usize, x: &Tensor, dy: &Tensor) -> candle_core::Result<()> {
        let add = |x_values: &[f32], dy_values: &[f32]| -> speft::Result<()> {
            let (x, dy) = (TensorView::new(x_values, x.dims())?, TensorView::new(dy_values, dy.dims())?);
            let gradient = Gradient::activations(x, dy);
            let mut adapter = self.lock();
            match adapter.state()?.selected {
                true => adapter.accumulate(parameter, &gradient),
                false => adapter.observe(parameter, &gradient),
            }
        };
        let add = |x: &[f32], dy: &[f32]| add(x, dy).map_err(candle_core::Error::wrap);
        with_values(x, |x| with_values(dy, |dy| add(x, dy)))
    }
}

impl Sparse {
    /// An adapter that has chosen nothing yet.
    pub fn new(name: MethodName, model: &Classifier, settings: &Settings) -> Result<Self> {
        let selection = match name {
            MethodName::Random => Selection::Random,
            MethodName::Gradient => Selection::Gradient,
            MethodName::Snip => Selection::Snip,
            MethodName::SpielAg => Selection::SpielAg,
            MethodName::HeadOnly => return Err("head-only has no adapter".into()),
        };
        let context = make_context(settings)?;
        let mut builder = Adapter::builder(&context).selection(selection).density(settings.density);
        builder = builder.seed(u64::from(settings.seed));
        if name.moves() {
            // SpIEL starts with the same share of each matrix. It moves every 20 steps, or oftener where there are few.
            let (steps, every) = (settings.steps as u64, (settings.steps as u64 / 2).clamp(1, 20));
            builder =
                builder.scope(Scope::PerTensor).schedule(Schedule::new().total_steps(steps).reselect_every(every));
        }
        let mut vars = Vec::new();
        for (name, var) in &model.targets {
            builder = builder.parameter(Parameter::sparse(name, var.dims(), DataType::Float32));
            vars.push(var.clone());
        }
        for (name, var) in [("head.weight", &model.head_weight), ("head.bias", &model.head_bias)] {
            builder = builder.parameter(Parameter::dense(name, var.dims(), DataType::Float32));
            vars.push(var.clone());
        }
        Ok(Self::around(builder.build()?, vars, model.targets.len(), name.observes()))
    }

    /// What [`Method::save`] has written, put onto a fresh model: it then has the tuned weights.
    pub fn load(path: &Path, model: &Classifier, settings: &Settings) -> Result<Self> {
        let adapter = Adapter::load(&make_context(settings)?, path)?;
        let mut vars = Vec::new();
        for parameter in adapter.parameters() {
            match model.trainable(parameter.name()) {
                Some(var) => vars.push(var.clone()),
                None => return input_error(format!("{}: the model has no {}", path.display(), parameter.name())),
            }
        }
        let sparse = Self::around(adapter, vars, model.targets.len(), false);
        sparse.with_weights(|bound| bound.merge())?;
        Ok(sparse)
    }

    fn around(adapter: Adapter, vars: Vec<Var>, targets: usize, observes: bool) -> Self {
        Self { adapter: Arc::new(Shared(Mutex::new(adapter))), vars, targets, observes, reselections: 0 }
    }

    /// The original bits, everywhere.
    pub fn unmerge(&mut self) -> Result<()> {
        self.with_weights(|bound| bound.unmerge())
    }

    /// How often the mask was chosen again.
    pub fn reselections(&self) -> usize {
        self.reselections
    }

    /// Runs a call that touches the weights, with all of them lent to the adapter.
    fn with_weights<T>(&self, call: impl FnOnce(&mut Bound<'_>) -> speft::Result<T>) -> Result<T> {
        Ok(lend(&self.vars, |views| call(&mut self.adapter.lock().bind(views)?))??)
    }

    /// Hands over the gradients that candle has formed: those of the head.
    fn accumulate_head(&self, gradients: &GradStore) -> Result<()> {
        for (number, var) in self.vars.iter().enumerate().skip(self.targets) {
            let gradient = gradients.get(var).ok_or("the loss does not depend on the head")?;
            let add = |values: &[f32]| {
                let dense = Gradient::dense(TensorView::new(values, var.dims())?);
                self.adapter.lock().accumulate(number, &dense)
            };
            with_values(gradient, |values| add(values).map_err(candle_core::Error::wrap))?;
        }
        Ok(())
    }
}

impl Method for Sparse {
    fn sink(&self) -> Option<Arc<dyn GradientSink>> {
        Some(self.adapter.clone())
    }

    fn prepare(&mut self, losses: &mut dyn Iterator<Item = Result<Tensor>>) -> Result<()> {
        if self.observes {
            for loss in losses {
                loss?.backward()?; // the sink observes
                self.adapter.lock().finish_observation(1.0)?;
            }
        }
        self.with_weights(|bound| bound.select())
    }

    fn step(&mut self, loss: &Tensor, learning_rate: f64) -> Result<()> {
        let gradients = loss.backward()?; // the sink accumulates
        self.accumulate_head(&gradients)?;
        let moved = self.with_weights(|bound| {
            bound.step(Hyperparameters::new().learning_rate(learning_rate))?;
            bound.reselect() // does nothing until one is due, and where masks stay
        })?;
        self.reselections += usize::from(moved.is_some());
        Ok(())
    }

    fn density(&self) -> Result<f64> {
        let state = self.adapter.lock().state()?;
        Ok(state.selected_scalars as f64 / state.targeted_scalars as f64)
    }

    fn trained(&self) -> Result<i64> {
        Ok(self.adapter.lock().state()?.trained_scalars)
    }

    fn save(&self, path: &Path) -> Result<()> {
        Ok(self.adapter.lock().save(path)?)
    }

    fn as_sparse(&mut self) -> Option<&mut Sparse> {
        Some(self)
    }
}

fn make_context(settings: &Settings) -> Result<Context> {
    Ok(Context::builder().threads(settings.threads as i32).build()?)
}
