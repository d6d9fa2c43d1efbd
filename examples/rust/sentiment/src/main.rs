//! Fine-tunes a language model sparsely and in other ways, and compares them: `sentiment --help` tells the options.
//!
//! sparse.rs is where libspeft is called, linear.rs where its gradients come from, lend.rs how it gets at the weights.
//! Beside them:
//!     command_line.rs   the options                  settings.rs   what a comparison is run with
//!     data.rs           texts, labels, batches       model.rs      the encoder, its new head, its targets
//!     methods.rs        what each method trains      values.rs     tensors as slices
//!     layer_norm.rs     layer norm with a gradient   python_random.rs  the Python example's split, batches, head
//!     train.rs          one method, in a process     verify.rs     reload and unmerge, checked
//!     evaluate.rs       predictions, equal bits      report.rs     table and report.json
//!     environment.rs    machine and versions         progress.rs   how far a run is

mod command_line;
mod data;
mod environment;
mod errors;
mod evaluate;
mod layer_norm;
mod lend;
mod linear;
mod methods;
mod model;
mod progress;
mod python_random;
mod report;
mod settings;
mod sparse;
mod train;
mod values;
mod verify;

#[cfg(test)]
mod against_python;

use std::path::Path;
use std::process::{Command, exit};
use std::time::Instant;

use serde::de::DeserializeOwned;

use command_line::{CommandLine, Stage};
use errors::{Result, input_error};
use report::{MethodResult, Report, Verified};
use settings::{MethodName, Settings};

fn main() {
    let command_line = CommandLine::read();
    let done = match &command_line.stage {
        Some(Stage::Train { settings, method }) => Settings::read(settings).and_then(|s| train::train(&s, *method)),
        Some(Stage::Verify { settings, method }) => Settings::read(settings).and_then(|s| verify::verify(&s, *method)),
        None => command_line.settings().and_then(|(settings, methods)| compare(&settings, &methods)),
    };
    if let Err(error) = done {
        eprintln!("error: {error}");
        exit(2);
    }
}

fn compare(settings: &Settings, methods: &[MethodName]) -> Result<()> {
    let started = Instant::now();
    let dataset = data::load_dataset(settings)?;
    let (training_texts, held_out, labels) = (dataset.train.len(), dataset.held_out.len(), dataset.label_names.len());
    println!(
        "{training_texts} texts to train on, {held_out} held out, {labels} labels; {} steps of {}",
        settings.steps, settings.batch_size
    );
    let results = methods.iter().map(|&method| run_method(settings, method)).collect::<Result<Vec<_>>>()?;
    let report = Report {
        checks: check_sparse(settings, &results)?,
        methods: results,
        seconds_total: started.elapsed().as_secs_f64(),
        training_texts,
        held_out,
        settings: settings.clone(),
        environment: environment::describe_environment()?,
    };
    let path = settings.out.join("report.json");
    train::write_json(&report, &path)?;
    println!("\n{}\n{} has it for programs, beside the adapters", report.table(), path.display());
    match report.checks {
        Some(Verified { reload_identical: false, .. }) => Err("the check failed: reload_identical".into()),
        Some(Verified { unmerge_bit_exact: false, .. }) => Err("the check failed: unmerge_bit_exact".into()),
        _ => Ok(()),
    }
}

/// Trains one method and gives its figures.
fn run_method(settings: &Settings, method: MethodName) -> Result<MethodResult> {
    std::fs::create_dir_all(settings.method_directory(method))?;
    run_fresh("train", settings, method)?;
    read_json(&settings.method_directory(method).join("result.json"))
}

/// Whether every sparse adapter gave the same predictions when reloaded, and the weights when unmerged: on the model
/// that was trained, and on the one that the adapter was loaded onto.
fn check_sparse(settings: &Settings, results: &[MethodResult]) -> Result<Option<Verified>> {
    let mut checks = None;
    for result in results.iter().filter(|result| result.name.is_sparse()) {
        run_fresh("verify", settings, result.name)?;
        let found: Verified = read_json(&settings.method_directory(result.name).join("verified.json"))?;
        let all = checks.get_or_insert(Verified { reload_identical: true, unmerge_bit_exact: true });
        all.reload_identical &= found.reload_identical;
        all.unmerge_bit_exact &= found.unmerge_bit_exact && result.unmerge_bit_exact == Some(true);
    }
    Ok(checks)
}

/// Starts this program again: a method's peak memory is its own, and no state passes between methods.
fn run_fresh(stage: &str, settings: &Settings, method: MethodName) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .arg(stage)
        .arg(settings.write()?)
        .arg(method.text())
        .env("RAYON_NUM_THREADS", settings.threads.to_string()) // those of candle's products
        .status()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => exit(code), // it has said why
        None => input_error(format!("{stage} of {} was ended: {status} (9 is often too little memory)", method.text())),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}
