//! One method in a process of its own: `sentiment train SETTINGS.json METHOD`, started by `sentiment`.
//!
//! Leaves in the method's directory what was trained (adapter.safetensors), the figures (result.json), all losses
//! (losses.json), and the logits on the held-out rows (logits.safetensors), for verify.rs to compare.

use std::path::Path;
use std::time::Instant;

use candle_core::Tensor;
use candle_nn::loss::cross_entropy;
use serde::Serialize;

use crate::data::{Batch, Batches, load_dataset};
use crate::errors::Result;
use crate::evaluate::{has_pretrained_bits, predict, save_logits, scores};
use crate::methods::make_method;
use crate::model::{load_classifier, load_tokenizer};
use crate::progress::{Progress, peak_memory};
use crate::report::MethodResult;
use crate::settings::{MethodName, Settings};

pub fn train(settings: &Settings, name: MethodName) -> Result<()> {
    let dataset = load_dataset(settings)?;
    let tokenizer = load_tokenizer(&settings.model, settings.max_tokens)?;
    let model = load_classifier(&settings.model, dataset.label_names.len(), settings.seed)?;
    let batches = Batches::new(&dataset.train, &tokenizer)?;
    let shuffled = |purpose: &str, count: usize| {
        batches.shuffled(count, settings.batch_size, format!("{purpose} {}", settings.seed))
    };
    let mut method = make_method(name, &model, settings)?;
    let sink = method.sink();
    let loss_of = |batch: Result<Batch>| -> Result<Tensor> {
        let batch = batch?;
        Ok(cross_entropy(&model.forward(&batch, sink.as_ref())?, &batch.labels)?)
    };

    let started = Instant::now();
    method.prepare(&mut shuffled("salience", settings.salience_batches).map(loss_of))?;
    let seconds_preparing = started.elapsed().as_secs_f64();

    let learning_rate = settings.learning_rate.unwrap_or(name.learning_rate());
    let mut progress = Progress::new(name.text(), settings.steps);
    let mut losses = Vec::with_capacity(settings.steps);
    for (step, batch) in shuffled("training", settings.steps).enumerate() {
        let loss = loss_of(batch)?;
        let remaining = 1.0 - step as f64 / settings.steps as f64; // the learning rate falls linearly to zero
        method.step(&loss, learning_rate * remaining)?;
        losses.push(loss.to_scalar::<f32>()?);
        progress.advance(losses[step])?;
    }
    let (seconds_stepping, peak_rss_bytes) = (progress.seconds(), peak_memory()?);

    let logits = predict(&model, &Batches::new(&dataset.held_out, &tokenizer)?)?;
    let (accuracy, loss) = scores(&logits, &dataset.held_out)?;
    let directory = settings.method_directory(name);
    let adapter = directory.join("adapter.safetensors");
    method.save(&adapter)?;
    save_logits(logits, &directory)?;
    let mut result = MethodResult {
        name,
        accuracy,
        loss,
        trained: method.trained()?,
        density: method.density()?,
        adapter_bytes: std::fs::metadata(&adapter)?.len(),
        seconds_preparing,
        seconds_per_step: seconds_stepping / settings.steps as f64,
        peak_rss_bytes,
        reselections: None,
        unmerge_bit_exact: None,
    };
    if let Some(sparse) = method.as_sparse() {
        result.reselections = Some(sparse.reselections());
        sparse.unmerge()?;
        result.unmerge_bit_exact = Some(has_pretrained_bits(&model, settings)?);
    }
    write_json(&losses, &directory.join("losses.json"))?;
    write_json(&result, &directory.join("result.json"))
}

pub fn write_json(content: &impl Serialize, path: &Path) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_string_pretty(content)? + "\n")?)
}
