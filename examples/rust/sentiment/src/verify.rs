//! Puts a saved adapter onto fresh weights: `sentiment verify SETTINGS.json METHOD`, started by `sentiment`.
//!
//! Compares its logits with those of the model that was trained, then takes the adapter off and compares every weight
//! with the pretrained one, both bit by bit. Leaves the answers in the method's directory (verified.json).

use crate::data::{Batches, load_dataset};
use crate::errors::Result;
use crate::evaluate::{has_pretrained_bits, load_logits, predict, same_bits};
use crate::model::{load_classifier, load_tokenizer};
use crate::report::Verified;
use crate::settings::{MethodName, Settings};
use crate::sparse::Sparse;
use crate::train::write_json;

pub fn verify(settings: &Settings, name: MethodName) -> Result<()> {
    let dataset = load_dataset(settings)?;
    let tokenizer = load_tokenizer(&settings.model, settings.max_tokens)?;
    let model = load_classifier(&settings.model, dataset.label_names.len(), settings.seed)?;
    let directory = settings.method_directory(name);

    let mut sparse = Sparse::load(&directory.join("adapter.safetensors"), &model, settings)?;
    let logits = predict(&model, &Batches::new(&dataset.held_out, &tokenizer)?)?;
    let reload_identical = same_bits(&logits, &load_logits(&directory)?)?;
    sparse.unmerge()?;
    let unmerge_bit_exact = has_pretrained_bits(&model, settings)?;
    write_json(&Verified { reload_identical, unmerge_bit_exact }, &directory.join("verified.json"))
}
