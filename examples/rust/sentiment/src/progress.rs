//! How far a run is, and the memory it has needed.

use std::time::Instant;

use crate::errors::Result;

const LINES: usize = 4;

/// Prints a line now and then.
pub struct Progress {
    name: &'static str,
    total: usize,
    done: usize,
    started: Instant,
}

impl Progress {
    pub fn new(name: &'static str, total: usize) -> Self {
        Self { name, total, done: 0, started: Instant::now() }
    }

    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub fn advance(&mut self, loss: f32) -> Result<()> {
        self.done += 1;
        if self.done == self.total || self.done.is_multiple_of((self.total / LINES).max(1)) {
            let (steps, memory) = (self.done as f64 / self.seconds(), peak_memory()? >> 20);
            let (name, done, total) = (self.name, self.done, self.total);
            eprintln!("{name:<12} {done:>4}/{total}  loss {loss:6.4}  {steps:5.2} steps/s  {memory:5} MiB");
        }
        Ok(())
    }
}

/// The most bytes this process has had resident.
pub fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().next()).ok_or("/proc/self/status has no VmHWM line")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}
