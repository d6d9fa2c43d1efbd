//! What a comparison ran on: the figures of another machine, or of other versions, differ.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::errors::Result;

/// The date, the machine and the versions, for report.json.
pub fn describe_environment() -> Result<Value> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes = entry(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Ok(json!({
        "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        // as Linux on x86 names it; elsewhere, the name of the architecture
        "processor": entry(&processors, "model name").unwrap_or(std::env::consts::ARCH),
        "cores": std::thread::available_parallelism()?.get(),
        "memory_bytes": kilobytes.ok_or("/proc/meminfo has no MemTotal line")? * 1024,
        "system": std::fs::read_to_string("/proc/version")?.trim(),
        "versions": {
            "speft": speft::version(),
            "candle": locked_version("candle-core"),
            "tokenizers": locked_version("tokenizers"),
        },
    }))
}

/// What stands behind `name` and a colon.
fn entry<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    let line = lines.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// The version of a dependency that this program was built with.
fn locked_version(package: &str) -> Option<&'static str> {
    let (_, package) = include_str!("../Cargo.lock").split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(package.split_once('"')?.0)
}
