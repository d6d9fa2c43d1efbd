//! How the methods compare: a table for people and report.json for programs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::settings::{MethodName, Settings};

/// What one method has come to.
#[derive(Serialize, Deserialize)]
pub struct MethodResult {
    pub name: MethodName,
    pub accuracy: f64,
    pub loss: f64,
    /// All trained scalars, the head's among them.
    pub trained: i64,
    /// Trained scalars of the targeted matrices over all their scalars.
    pub density: f64,
    pub adapter_bytes: u64,
    pub seconds_preparing: f64,
    pub seconds_per_step: f64,
    pub peak_rss_bytes: u64,
    /// Sparse methods: how often the mask was chosen again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reselections: Option<usize>,
    /// Sparse methods: whether the trained model has its original weights again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmerge_bit_exact: Option<bool>,
}

/// What a fresh process has found of a sparse method's file.
#[derive(Serialize, Deserialize)]
pub struct Verified {
    pub reload_identical: bool,
    pub unmerge_bit_exact: bool,
}

/// report.json
#[derive(Serialize)]
pub struct Report {
    pub methods: Vec<MethodResult>,
    /// Of all sparse methods together; not there when none ran.
    #[serde(flatten)]
    pub checks: Option<Verified>,
    pub seconds_total: f64,
    pub training_texts: usize,
    pub held_out: usize,
    pub settings: Settings,
    pub environment: Value,
}

const HEADINGS: [&str; 8] =
    ["method", "accuracy", "loss", "trained scalars", "density", "adapter file", "time of a step", "peak memory"];

impl Report {
    /// The methods as lines, then the checks and the time.
    pub fn table(&self) -> String {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.methods.iter().map(cells));
        let widths = [0, 1, 2, 3, 4, 5, 6, 7].map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
        let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
        lines.insert(1, "-".repeat(lines[0].len()));
        lines.push(String::new());
        if let Some(checks) = &self.checks {
            let word = |same| if same { "identical" } else { "DIFFERENT" };
            let (reloaded, unmerged) = (word(checks.reload_identical), word(checks.unmerge_bit_exact));
            lines.push(format!("predictions after reloading the adapter in a fresh process: {reloaded}"));
            lines.push(format!("weights after unmerging, against the pretrained bits: {unmerged}"));
        }
        lines.push(format!("{:.0} s in all", self.seconds_total));
        lines.join("\n")
    }
}

fn cells(method: &MethodResult) -> [String; 8] {
    [
        method.name.text().into(),
        format!("{:.1}%", 100.0 * method.accuracy),
        format!("{:.3}", method.loss),
        method.trained.to_string(),
        format!("{:.2}%", 100.0 * method.density),
        size(method.adapter_bytes),
        format!("{:.0} ms", 1e3 * method.seconds_per_step),
        size(method.peak_rss_bytes),
    ]
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let mut line = format!("{:<width$}", cells[0], width = widths[0]);
    for (cell, width) in cells.iter().zip(widths).skip(1) {
        line += &format!("  {cell:>width$}");
    }
    line
}

/// In decimal units: 1 MB is a million bytes.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
