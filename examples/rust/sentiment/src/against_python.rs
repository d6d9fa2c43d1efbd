//! The same task as the Python example's: its rows, its batches, its first head, its model.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use candle_core::Tensor;
use candle_nn::loss::cross_entropy;
use serde::Deserialize;

use crate::data::{Batches, Dataset, load_dataset};
use crate::linear::GradientSink;
use crate::model::{load_classifier, load_tokenizer};
use crate::settings::Settings;

/// What tests/reference.py prints.
#[derive(Deserialize)]
struct Reference {
    model: PathBuf,
    train: (Vec<String>, Vec<u32>),
    held_out: (Vec<String>, Vec<u32>),
    label_names: Vec<String>,
    batches: Vec<Vec<usize>>,
    tokens: Vec<Vec<u32>>,
    head: Vec<f32>,
    logits: Vec<f32>,
    gradient_norms: Vec<(String, f32)>,
    head_gradient: Vec<f32>,
}

/// What a product of float32 numbers loses in six layers whose sums are in another order: errors of a few 2^-24 of the
/// largest terms, which cancel in part, grow by some hundred times on the way forth and back.
const RELATIVE: f32 = 1e-4;

/// Run once, by the Python that set-up has made.
fn reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
        let python = repository().join(".venv/bin/python");
        let output = Command::new(&python).arg(script).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}; 'make setup' makes it", python.display()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("what reference.py prints")
    })
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("examples/rust/sentiment in the repository")
}

fn settings() -> Settings {
    Settings {
        data: None,
        reviews: repository().join(".cache/vaderSentiment-3.3.2.tar.gz"),
        model: reference().model.clone(),
        out: PathBuf::new(),
        steps: 1,
        batch_size: 32,
        salience_batches: 1,
        density: 0.005,
        max_tokens: 48,
        max_rows: Some(400),
        seed: 0,
        threads: 1,
        learning_rate: None,
    }
}

fn dataset() -> Dataset {
    load_dataset(&settings()).expect("a data set")
}

fn batches() -> Batches {
    let tokenizer = load_tokenizer(&settings().model, settings().max_tokens).expect("a tokenizer");
    Batches::new(&dataset().train, &tokenizer).expect("batches")
}

#[test]
fn rows_are_split_alike() {
    let (dataset, reference) = (dataset(), reference());
    assert_eq!((&dataset.train.texts, &dataset.train.labels), (&reference.train.0, &reference.train.1));
    assert_eq!((&dataset.held_out.texts, &dataset.held_out.labels), (&reference.held_out.0, &reference.held_out.1));
    assert_eq!(dataset.label_names, reference.label_names);
}

#[test]
fn batches_have_the_same_rows_in_the_same_order() {
    assert_eq!(batches().shuffled_rows(20, 32, "training 0"), reference().batches);
}

#[test]
fn texts_are_tokenized_and_padded_alike() {
    let batch = batches().shuffled(1, 8, "training 0".into()).next().expect("one batch").expect("tokens");
    assert_eq!(batch.tokens.to_vec2::<u32>().expect("tokens"), reference().tokens);
}

#[test]
fn the_head_starts_alike() {
    let model = load_classifier(&settings().model, 2, 0).expect("a model");
    let mut head = model.head_weight.flatten_all().expect("a matrix").to_vec1::<f32>().expect("float32");
    head.extend(model.head_bias.to_vec1::<f32>().expect("float32"));
    let differing = head.iter().zip(&reference().head).find(|(ours, theirs)| ours.to_bits() != theirs.to_bits());
    assert_eq!((head.len(), differing), (reference().head.len(), None));
}

#[test]
fn logits_agree() {
    let model = load_classifier(&settings().model, 2, 0).expect("a model");
    let batch = batches().shuffled(1, 8, "training 0".into()).next().expect("one batch").expect("tokens");
    let logits = model.forward(&batch, None).expect("logits").flatten_all().expect("a matrix");
    let logits = logits.to_vec1::<f32>().expect("float32");
    assert_eq!(logits.len(), reference().logits.len());
    for (logit, expected) in logits.iter().zip(&reference().logits) {
        // Six layers of float32 sums in other orders: errors of a few 2^-24 in activations around 1 grow by less than
        // ten times on the way.
        assert!((logit - expected).abs() < 1e-5, "{logit}, in Python {expected}");
    }
}

/// The norms of weight gradients, by the weights' numbers.
#[derive(Default)]
struct Norms(Mutex<Vec<(usize, f32)>>);

impl GradientSink for Norms {
    fn receive(&self, parameter: usize, x: &Tensor, dy: &Tensor) -> candle_core::Result<()> {
        let norm = dy.t()?.matmul(x)?.sqr()?.sum_all()?.sqrt()?.to_scalar()?;
        self.0.lock().expect("one thread").push((parameter, norm));
        Ok(())
    }
}

#[test]
fn gradients_agree_in_every_layer() {
    let model = load_classifier(&settings().model, 2, 0).expect("a model");
    let batch = batches().shuffled(1, 8, "training 0".into()).next().expect("one batch").expect("tokens");
    let norms = Arc::new(Norms::default());
    let sink: Arc<dyn GradientSink> = norms.clone();
    let logits = model.forward(&batch, Some(&sink)).expect("logits");
    let gradients = cross_entropy(&logits, &batch.labels).and_then(|loss| loss.backward()).expect("gradients");

    let mut norms = norms.0.lock().expect("one thread").clone();
    norms.sort_by_key(|&(parameter, _)| parameter);
    let names: Vec<_> = norms.iter().map(|&(parameter, _)| &model.targets[parameter].0).collect();
    assert_eq!(names, reference().gradient_norms.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for ((_, norm), (name, expected)) in norms.iter().zip(&reference().gradient_norms) {
        assert!((norm - expected).abs() < RELATIVE * expected, "{name}: {norm}, in Python {expected}");
    }
    let head = gradients.get(&model.head_weight).expect("a gradient").flatten_all().expect("a matrix");
    let largest = reference().head_gradient.iter().fold(0f32, |largest, slope| largest.max(slope.abs()));
    for (slope, expected) in head.to_vec1::<f32>().expect("float32").iter().zip(&reference().head_gradient) {
        assert!((slope - expected).abs() < RELATIVE * largest, "{slope}, in Python {expected}");
    }
}
