//! What one comparison is run with: made by the command line, read by every process it starts.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::errors::{Result, input_error};

/// The ways to fine-tune that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    HeadOnly,
    Random,
    Gradient,
    Snip,
    SpielAg,
}

impl MethodName {
    /// As it is written on the command line, in reports and as the name of a folder.
    pub fn text(self) -> &'static str {
        match self {
            Self::HeadOnly => "head-only",
            Self::Random => "random",
            Self::Gradient => "gradient",
            Self::Snip => "snip",
            Self::SpielAg => "spiel-ag",
        }
    }

    pub fn is_sparse(self) -> bool {
        self != Self::HeadOnly
    }

    /// Its mask moves while it trains.
    pub fn moves(self) -> bool {
        self == Self::SpielAg
    }

    /// Its mask is chosen by the gradients of a few batches.
    pub fn observes(self) -> bool {
        matches!(self, Self::Gradient | Self::Snip)
    }

    /// Those of the Python example, which chose them on a validation split.
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::HeadOnly => 2e-2,
            Self::Random | Self::SpielAg => 1e-2,
            Self::Gradient | Self::Snip => 4e-3,
        }
    }
}

/// The same for all methods of a comparison: only the method differs between two rows of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// A file of `label TAB text` lines; None: the movie reviews of `reviews`.
    pub data: Option<PathBuf>,
    /// vaderSentiment's source distribution.
    pub reviews: PathBuf,
    /// A checkpoint of a BERT encoder: config.json, tokenizer.json, model.safetensors.
    pub model: PathBuf,
    pub out: PathBuf,
    pub steps: usize,
    pub batch_size: usize,
    pub salience_batches: usize,
    pub density: f64,
    pub max_tokens: usize,
    pub max_rows: Option<usize>,
    pub seed: u32,
    pub threads: usize,
    /// None: the method's own.
    pub learning_rate: Option<f64>,
}

impl Settings {
    /// Where one method leaves its adapter, its figures and its predictions.
    pub fn method_directory(&self, method: MethodName) -> PathBuf {
        self.out.join(method.text())
    }

    pub fn write(&self) -> Result<PathBuf> {
        let path = self.out.join("settings.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }

    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(error) => input_error(format!("{}: cannot be read ({error})", path.display())),
        }
    }
}
