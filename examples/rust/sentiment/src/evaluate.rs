//! What training and verifying have in common: predictions, and comparing bits.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::loss::cross_entropy;

use crate::data::{Batches, Rows};
use crate::errors::Result;
use crate::model::{Classifier, load_classifier};
use crate::settings::Settings;
use crate::values::with_values;

const EVALUATION_BATCH: usize = 64;

/// The logits of all rows, in the rows' order: [rows, labels].
pub fn predict(model: &Classifier, batches: &Batches) -> Result<Tensor> {
    let (mut logits, mut positions) = (Vec::new(), Vec::new());
    for batch in batches.in_order_of_length(EVALUATION_BATCH) {
        let batch = batch?;
        logits.push(model.forward(&batch, None)?.detach());
        positions.extend(batch.positions);
    }
    let mut order = vec![0u32; positions.len()];
    for (place, &position) in positions.iter().enumerate() {
        order[position] = place as u32;
    }
    Ok(Tensor::cat(&logits, 0)?.index_select(&Tensor::new(order, &Device::Cpu)?, 0)?)
}

/// Accuracy as a fraction, and the mean cross entropy.
pub fn scores(logits: &Tensor, rows: &Rows) -> Result<(f64, f64)> {
    let labels = Tensor::new(rows.labels.as_slice(), &Device::Cpu)?;
    let correct = logits.argmax(1)?.eq(&labels)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()?;
    let loss = cross_entropy(logits, &labels)?.to_scalar::<f32>()?;
    Ok((f64::from(correct) / rows.len() as f64, f64::from(loss)))
}

/// Whether every weight is, bit for bit, that of a newly loaded model.
pub fn has_pretrained_bits(model: &Classifier, settings: &Settings) -> Result<bool> {
    let labels = model.head_bias.dim(0)?;
    let fresh = load_classifier(&settings.model, labels, settings.seed)?;
    for (name, original) in &fresh.weights {
        if !same_bits(&model.weights[name], original)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Equality that tells -0 from 0 and finds a NaN equal to itself.
pub fn same_bits(one: &Tensor, other: &Tensor) -> candle_core::Result<bool> {
    let same = |one: &[f32], other: &[f32]| one.iter().map(|x| x.to_bits()).eq(other.iter().map(|x| x.to_bits()));
    Ok(one.dims() == other.dims() && with_values(one, |one| with_values(other, |other| Ok(same(one, other))))?)
}

pub fn save_logits(logits: Tensor, directory: &Path) -> Result<()> {
    let named = HashMap::from([("logits", logits)]);
    Ok(candle_core::safetensors::save(&named, directory.join("logits.safetensors"))?)
}

pub fn load_logits(directory: &Path) -> Result<Tensor> {
    let mut named = candle_core::safetensors::load(directory.join("logits.safetensors"), &Device::Cpu)?;
    Ok(named.remove("logits").ok_or("logits.safetensors has no logits")?)
}
