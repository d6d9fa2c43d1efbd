//! The ways to fine-tune that are compared. Each says what of a model is trained, and what is kept of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

use crate::errors::Result;
use crate::linear::GradientSink;
use crate::model::Classifier;
use crate::settings::{MethodName, Settings};
use crate::sparse::Sparse;

/// A classifier made ready to be tuned in one way.
pub trait Method {
    /// Who takes the gradients of the encoder's matrices; None: nobody, the encoder stays as it is.
    fn sink(&self) -> Option<Arc<dyn GradientSink>> {
        None
    }

    /// Sparse methods choose here, some by the losses of a few batches; the others start at once.
    fn prepare(&mut self, _losses: &mut dyn Iterator<Item = Result<Tensor>>) -> Result<()> {
        Ok(())
    }

    /// One update by the gradients of `loss`.
    fn step(&mut self, loss: &Tensor, learning_rate: f64) -> Result<()>;

    /// Trained scalars of the targeted matrices over all their scalars.
    fn density(&self) -> Result<f64> {
        Ok(0.0)
    }

    /// All trained scalars, the head's among them.
    fn trained(&self) -> Result<i64>;

    /// Writes what must be kept to have the tuned model again, given the pretrained one.
    fn save(&self, path: &Path) -> Result<()>;

    /// What only a sparse method can do.
    fn as_sparse(&mut self) -> Option<&mut Sparse> {
        None
    }
}

pub fn make_method<'a>(name: MethodName, model: &'a Classifier, settings: &Settings) -> Result<Box<dyn Method + 'a>> {
    Ok(match name {
        MethodName::HeadOnly => Box::new(HeadOnly::new(model)?),
        _ => Box::new(Sparse::new(name, model, settings)?),
    })
}

/// The pretrained encoder as it is; only the new head learns, by candle's own optimizer.
struct HeadOnly<'a> {
    model: &'a Classifier,
    optimizer: AdamW,
}

impl<'a> HeadOnly<'a> {
    fn new(model: &'a Classifier) -> Result<Self> {
        let head = vec![model.head_weight.clone(), model.head_bias.clone()];
        let optimizer = AdamW::new(head, ParamsAdamW { weight_decay: 0.0, ..Default::default() })?;
        Ok(Self { model, optimizer })
    }
}

impl Method for HeadOnly<'_> {
    fn step(&mut self, loss: &Tensor, learning_rate: f64) -> Result<()> {
        self.optimizer.set_learning_rate(learning_rate);
        Ok(self.optimizer.backward_step(loss)?)
    }

    fn trained(&self) -> Result<i64> {
        Ok((self.model.head_weight.elem_count() + self.model.head_bias.elem_count()) as i64)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let tensor = |var: &candle_core::Var| var.as_detached_tensor();
        let head = HashMap::from([
            ("head.weight", tensor(&self.model.head_weight)),
            ("head.bias", tensor(&self.model.head_bias)),
        ]);
        Ok(candle_core::safetensors::save(&head, path)?)
    }
}
