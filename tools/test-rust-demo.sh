#!/usr/bin/env bash
# The tests of the Rust demo, and the demo itself on a few rows. candle is built once, for both.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
export SPEFT_ROOT="${SPEFT_ROOT:-$PWD/build/installed}" CARGO_TARGET_DIR="$PWD/build/rust-demo"
mkdir -p build/logs build/results

build() {
    cargo build --release --locked --tests --manifest-path examples/rust/sentiment/Cargo.toml >build/logs/rust-demo.log 2>&1 ||
        { grep -E '^error' -A12 build/logs/rust-demo.log | head -60; return 1; }
}

unit_tests() {
    cargo test --release --locked --manifest-path examples/rust/sentiment/Cargo.toml 2>&1 |
        .venv/bin/python tools/cargo_junit.py build/results/rust-demo.xml
}

# The main job on a few rows: the whole way, in a minute.
short_run() {
    OUT=build/short-demo-rust tools/demo-rust.sh --steps 3 --salience-batches 2 --max-rows 400
}

checked_in_python() {
    .venv/bin/python examples/rust/sentiment/tests/check_run.py build/short-demo-rust
}

stage 'Rust demo: build' build
stage 'Rust demo: tests' unit_tests
stage 'Rust demo: short run' short_run
stage 'Rust demo: what it left, in Python' checked_in_python
