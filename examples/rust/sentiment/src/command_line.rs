//! The options, and the checks of what they name before anything slow starts.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::errors::{Result, input_error};
use crate::model::read_config;
use crate::settings::{MethodName, Settings};

const EVERY_METHOD: [MethodName; 5] =
    [MethodName::HeadOnly, MethodName::Random, MethodName::Gradient, MethodName::Snip, MethodName::SpielAg];

/// Fine-tunes MiniLM-L6 in candle to tell positive from negative texts: compares ways to choose the trained weights,
/// and checks that sparse adapters reload and unmerge exactly.
#[derive(Parser)]
#[command(name = "sentiment", args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CommandLine {
    /// What the program starts itself with: a fresh process for each method, and for each check
    #[command(subcommand)]
    pub stage: Option<Stage>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
pub enum Stage {
    /// Trains one method, with the settings of a comparison
    #[command(hide = true)]
    Train { settings: PathBuf, method: MethodName },
    /// Loads what a sparse method has saved onto fresh weights, and takes it off again
    #[command(hide = true)]
    Verify { settings: PathBuf, method: MethodName },
}

#[derive(clap::Args)]
struct Options {
    /// A checkpoint of a BERT encoder: config.json, tokenizer.json, model.safetensors
    #[arg(long, value_name = "DIRECTORY", required = true)]
    model: Option<PathBuf>,
    /// Lines of label, tab, text [default: the movie reviews of --reviews]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// vaderSentiment's source distribution, which has rated movie reviews
    #[arg(long, value_name = "FILE", default_value = ".cache/vaderSentiment-3.3.2.tar.gz")]
    reviews: PathBuf,
    /// For the results
    #[arg(long, value_name = "DIRECTORY", default_value = "out/demo-rust")]
    out: PathBuf,
    /// Which to compare
    #[arg(long, value_name = "METHOD", num_args = 1.., default_values_t = EVERY_METHOD, value_enum)]
    methods: Vec<MethodName>,
    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 160, value_parser = count)]
    steps: usize,
    /// Texts in a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = count)]
    batch_size: usize,
    /// Batches by whose gradients a mask is chosen
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count)]
    salience_batches: usize,
    /// The share of the targets that sparse methods train
    #[arg(long, value_name = "N", default_value_t = 0.005, value_parser = share)]
    density: f64,
    /// For all methods [default: each one's own, see settings.rs]
    #[arg(long, value_name = "N", value_parser = positive)]
    learning_rate: Option<f64>,
    /// Where longer texts are cut
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = count)]
    max_tokens: usize,
    /// Use only so many rows [default: all]
    #[arg(long, value_name = "N", value_parser = count)]
    max_rows: Option<usize>,
    /// Of the head, random masks and the order of the rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// CPU threads [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<usize>,
}

impl CommandLine {
    /// What the program was started with; a mistake in it is one line, and exit status 2.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit() // --help, which goes to stdout
            }
            let text = error.to_string();
            let mistake = text.split("\n\n").next().unwrap_or(&text); // then come hints
            eprintln!("{}", mistake.split_whitespace().collect::<Vec<_>>().join(" "));
            std::process::exit(2);
        })
    }

    /// The settings, and the methods to compare, each once.
    pub fn settings(self) -> Result<(Settings, Vec<MethodName>)> {
        let options = self.options;
        let settings = Settings {
            data: options.data,
            reviews: options.reviews,
            model: options.model.expect("a required option"),
            out: options.out,
            steps: options.steps,
            batch_size: options.batch_size,
            salience_batches: options.salience_batches,
            density: options.density,
            max_tokens: options.max_tokens,
            max_rows: options.max_rows,
            seed: options.seed,
            threads: match options.threads {
                Some(threads) => threads,
                None => std::thread::available_parallelism()?.get(),
            },
            learning_rate: options.learning_rate,
        };
        check_checkpoint(&settings.model)?;
        make_output_directory(&settings.out)?;
        let mut methods = Vec::new();
        for method in options.methods {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Ok((settings, methods))
    }
}

fn count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or("expected a whole number of at least 1".into())
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number > 0.0 && number.is_finite());
    number.ok_or("expected a number above 0".into())
}

fn share(text: &str) -> std::result::Result<f64, String> {
    positive(text).ok().filter(|&number| number <= 1.0).ok_or("expected a number above 0 and at most 1".into())
}

fn check_checkpoint(model: &Path) -> Result<()> {
    let name = model.display();
    if !model.is_dir() {
        return input_error(format!("{name}: expected a checkpoint's directory, found no directory"));
    }
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        if !model.join(file).is_file() {
            return input_error(format!("{name}: expected a checkpoint's directory, but it has no {file}"));
        }
    }
    read_config(model).map(|_| ())
}

/// Makes it, and writes to it once: now is the time to learn that it cannot be written.
fn make_output_directory(out: &Path) -> Result<()> {
    let probe = out.join(".writable");
    let written = std::fs::create_dir_all(out)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe));
    written.or_else(|error| input_error(format!("{}: cannot be written ({error})", out.display())))
}
