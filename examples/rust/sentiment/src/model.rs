//! A BERT encoder in candle with a new classifier head: the forward pass, and the weights that are worth tuning.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ops::softmax;
use serde::Deserialize;
use tokenizers::{Tokenizer, TruncationParams};

use crate::data::Batch;
use crate::errors::{Result, first_line, input_error};
use crate::layer_norm::LayerNorm;
use crate::linear::{GradientSink, Linear};
use crate::python_random::MersenneTwister;

/// The entries of config.json that decide what is computed.
#[derive(Deserialize)]
pub struct Config {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f64,
}

/// Averages the encoder's last hidden states over a text and maps the mean to one logit a label.
pub struct Classifier {
    heads: usize,
    words: Tensor,
    positions: Tensor,
    first_kind: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    /// [labels, hidden], all of it trained
    pub head_weight: Var,
    /// [labels], all of it trained
    pub head_bias: Var,
    /// Every weight by its name, those that are trained among them.
    pub weights: BTreeMap<String, Tensor>,
    /// The matrices of attention and feed-forward with their names, in the order of [`Linear::parameter`].
    pub targets: Vec<(String, Var)>,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    norm: LayerNorm,
}

type Sink<'a> = Option<&'a Arc<dyn GradientSink>>;

impl Classifier {
    /// The logits, [rows, labels]. With a sink the backward pass hands it x and dy of every target; without one it ends
    /// at the head.
    pub fn forward(&self, batch: &Batch, sink: Sink) -> candle_core::Result<Tensor> {
        let (rows, length) = batch.tokens.dims2()?;
        let words = self.words.index_select(&batch.tokens.flatten_all()?, 0)?;
        let positions = self.positions.narrow(0, 0, length)?.broadcast_add(&self.first_kind)?;
        let positions = positions.repeat((rows, 1))?;
        let mut hidden = self.norm.forward(&(words + positions)?)?;
        // Padding takes no part: before the softmax it is as far below everything else as float32 can say.
        let padding = batch.mask.affine(f64::from(f32::MAX), f64::from(f32::MIN))?.reshape((rows, 1, 1, length))?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &padding, self.heads, sink)?;
        }
        let hidden = hidden.reshape((rows, length, ()))?;
        let sum = hidden.broadcast_mul(&batch.mask.unsqueeze(2)?)?.sum(1)?;
        let mean = sum.broadcast_div(&batch.mask.sum_keepdim(1)?)?;
        mean.matmul(&self.head_weight.t()?)?.broadcast_add(&self.head_bias)
    }

    /// The weight of this name, if it is one that is trained.
    pub fn trainable(&self, name: &str) -> Option<&Var> {
        match name {
            "head.weight" => Some(&self.head_weight),
            "head.bias" => Some(&self.head_bias),
            _ => self.targets.iter().find(|(target, _)| target == name).map(|(_, var)| var),
        }
    }
}

impl Layer {
    /// `hidden` is [rows · length, features], and so is the result.
    fn forward(&self, hidden: &Tensor, padding: &Tensor, heads: usize, sink: Sink) -> candle_core::Result<Tensor> {
        let attended = self.attend(hidden, padding, heads, sink)?;
        let hidden = self.attention_norm.forward(&(self.attention_output.forward(&attended, sink)? + hidden)?)?;
        let inner = self.intermediate.forward(&hidden, sink)?.gelu_erf()?;
        self.norm.forward(&(self.output.forward(&inner, sink)? + &hidden)?)
    }

    fn attend(&self, hidden: &Tensor, padding: &Tensor, heads: usize, sink: Sink) -> candle_core::Result<Tensor> {
        let (rows, _, _, length) = padding.dims4()?;
        let split = |x: Tensor| x.reshape((rows, length, heads, ()))?.transpose(1, 2)?.contiguous();
        let query = split(self.query.forward(hidden, sink)?)?;
        let key = split(self.key.forward(hidden, sink)?)?;
        let value = split(self.value.forward(hidden, sink)?)?;
        let scale = 1.0 / (query.dim(3)? as f64).sqrt();
        let scores = (query.matmul(&key.t()?)? * scale)?.broadcast_add(padding)?;
        let attended = softmax(&scores, 3)?.matmul(&value)?;
        attended.transpose(1, 2)?.reshape((rows * length, ()))
    }
}

/// The checkpoint's tokenizer, cutting texts where the settings or the model's positions end.
pub fn load_tokenizer(directory: &Path, max_tokens: usize) -> Result<Tokenizer> {
    let max_length = max_tokens.min(read_config(directory)?.max_position_embeddings);
    let mut tokenizer = match Tokenizer::from_file(directory.join("tokenizer.json")) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            let (name, reason) = (directory.display(), first_line(&error));
            return input_error(format!("{name}: no tokenizer could be loaded ({reason})"));
        }
    };
    tokenizer.with_padding(None);
    tokenizer.with_truncation(Some(TruncationParams { max_length, ..Default::default() }))?;
    Ok(tokenizer)
}

/// Pretrained weights in float32, a seeded head as PyTorch makes it, and no dropout: 160 steps do not overfit.
pub fn load_classifier(directory: &Path, labels: usize, seed: u32) -> Result<Classifier> {
    let config = read_config(directory)?;
    let file = directory.join("model.safetensors");
    let stored = match candle_core::safetensors::load(&file, &Device::Cpu) {
        Ok(stored) => stored,
        Err(error) => {
            let (name, reason) = (file.display(), first_line(&error));
            return input_error(format!("{name}: no model could be loaded ({reason})"));
        }
    };
    let mut loader =
        Loader { directory, stored, epsilon: config.layer_norm_eps, weights: BTreeMap::new(), targets: vec![] };
    let words = loader.take("embeddings.word_embeddings.weight")?;
    let positions = loader.take("embeddings.position_embeddings.weight")?;
    let first_kind = loader.take("embeddings.token_type_embeddings.weight")?.get(0)?;
    let norm = loader.take_norm("embeddings.LayerNorm")?;
    let layers = (0..config.num_hidden_layers)
        .map(|number| loader.take_layer(&format!("encoder.layer.{number}")))
        .collect::<Result<_>>()?;

    let mut random = MersenneTwister::from_number(seed);
    let bound = 1.0 / (config.hidden_size as f64).sqrt();
    let mut new = |count: usize, name: &str, shape: &[usize]| -> Result<Var> {
        let var = Var::from_vec(random.uniform(count, bound), shape, &Device::Cpu)?;
        loader.weights.insert(name.into(), var.as_tensor().clone());
        Ok(var)
    };
    let head_weight = new(labels * config.hidden_size, "head.weight", &[labels, config.hidden_size])?;
    let head_bias = new(labels, "head.bias", &[labels])?;
    let Loader { weights, targets, .. } = loader;
    let heads = config.num_attention_heads;
    Ok(Classifier { heads, words, positions, first_kind, norm, layers, head_weight, head_bias, weights, targets })
}

/// A checkpoint's config.json, if its model is one that this program knows.
pub fn read_config(directory: &Path) -> Result<Config> {
    let path = directory.join("config.json");
    let name = path.display();
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    match read.and_then(|text| serde_json::from_str::<Config>(&text).map_err(|error| error.to_string())) {
        Err(error) => input_error(format!("{name}: cannot be read ({error})")),
        Ok(config) if config.model_type != "bert" || config.hidden_act != "gelu" => input_error(format!(
            "{name}: expected a bert model with gelu, got {} with {}",
            config.model_type, config.hidden_act
        )),
        Ok(config) => Ok(config),
    }
}

/// Takes weights out of a checkpoint, and keeps their names: those of the Python example's model.
struct Loader<'a> {
    directory: &'a Path,
    stored: HashMap<String, Tensor>,
    epsilon: f64,
    weights: BTreeMap<String, Tensor>,
    targets: Vec<(String, Var)>,
}

impl Loader<'_> {
    fn take(&mut self, name: &str) -> Result<Tensor> {
        let Some(tensor) = self.stored.remove(name) else {
            return input_error(format!("{}: the checkpoint lacks {name}", self.directory.display()));
        };
        let tensor = tensor.to_dtype(DType::F32)?;
        self.weights.insert(format!("encoder.{name}"), tensor.clone());
        Ok(tensor)
    }

    fn take_norm(&mut self, name: &str) -> Result<LayerNorm> {
        let weight = self.take(&format!("{name}.weight"))?;
        Ok(LayerNorm { weight, bias: self.take(&format!("{name}.bias"))?, epsilon: self.epsilon })
    }

    fn take_linear(&mut self, name: &str) -> Result<Linear> {
        let weight = Var::from_tensor(&self.take(&format!("{name}.weight"))?)?;
        let parameter = self.targets.len();
        let full_name = format!("encoder.{name}.weight");
        self.weights.insert(full_name.clone(), weight.as_tensor().clone()); // the variable is a copy
        self.targets.push((full_name, weight.clone()));
        Ok(Linear { weight, bias: self.take(&format!("{name}.bias"))?, parameter })
    }

    fn take_layer(&mut self, name: &str) -> Result<Layer> {
        Ok(Layer {
            query: self.take_linear(&format!("{name}.attention.self.query"))?,
            key: self.take_linear(&format!("{name}.attention.self.key"))?,
            value: self.take_linear(&format!("{name}.attention.self.value"))?,
            attention_output: self.take_linear(&format!("{name}.attention.output.dense"))?,
            attention_norm: self.take_norm(&format!("{name}.attention.output.LayerNorm"))?,
            intermediate: self.take_linear(&format!("{name}.intermediate.dense"))?,
            output: self.take_linear(&format!("{name}.output.dense"))?,
            norm: self.take_norm(&format!("{name}.output.LayerNorm"))?,
        })
    }
}
