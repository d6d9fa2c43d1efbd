#!/usr/bin/env bash
# The tests of the Rust demo, and the demo itself on a few rows. candle is built once, for both.
#
#   SPEFT_ROOT      where libspeft is installed; build/installed
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh

export SPEFT_ROOT=${SPEFT_ROOT:-$PWD/build/installed}
export CARGO_TARGET_DIR=$PWD/build/rust-demo CARGO_TERM_COLOR=never
mkdir -p build/results build/logs
manifest=examples/rust/sentiment/Cargo.toml

# Optimized, as the program is: tests compute with the whole model.
build() {
    cargo build --release --tests --manifest-path $manifest >build/logs/rust-demo-build.log 2>&1 ||
        { grep -E '^error' -A12 build/logs/rust-demo-build.log | head -60; return 1; }
}

# Both are parts of a Rust installation that may be left out.
style() {
    if cargo fmt --version >/dev/null 2>&1; then
        cargo fmt --manifest-path $manifest --check
    else
        echo 'cargo fmt is not installed: left out'
    fi
    if cargo clippy --version >/dev/null 2>&1; then
        cargo clippy --quiet --release --all-targets --manifest-path $manifest -- --deny warnings
    else
        echo 'cargo clippy is not installed: left out'
    fi
}

demo_tests() {
    local status=0
    cargo test --release --no-fail-fast --manifest-path $manifest >build/logs/rust-demo.log 2>&1 || status=$?
    .venv/bin/python tools/rust_junit.py build/logs/rust-demo.log build/results/rust-demo.xml
    grep -E '^test result|^     Running' build/logs/rust-demo.log || true
    [ $status = 0 ] || { grep -E -A12 'FAILED|panicked at|^error' build/logs/rust-demo.log | head -60; return $status; }
}

# The main job on a few rows: the whole way, in a minute.
short_run() {
    OUT=build/short-demo-rust tools/demo-rust.sh --steps 3 --salience-batches 2 --max-rows 400
}

checked_in_python() {
    .venv/bin/python examples/rust/sentiment/tests/check_run.py build/short-demo-rust
}

stage 'rust demo: build' build
stage 'rust demo: style' style
stage 'rust demo: tests' demo_tests
stage 'rust demo: short run' short_run
stage 'rust demo: what it left, in Python' checked_in_python
