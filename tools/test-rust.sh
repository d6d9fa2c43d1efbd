#!/usr/bin/env bash
# The Rust crates: whether their bindings are current, all their tests against an installed libspeft, and the packages.
#
#   SPEFT_ROOT      where libspeft is installed; build/installed
#   LIBCLANG_PATH   the folder of libclang.so; that of the Python package libclang in .venv
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
source tools/counted.sh

export SPEFT_ROOT=${SPEFT_ROOT:-$PWD/build/installed}
export CARGO_TARGET_DIR=$PWD/build/rust CARGO_TERM_COLOR=never
results=build/results
mkdir -p $results build/logs
crates=bindings/rust

in_workspace() {
    cargo "$1" --manifest-path $crates/Cargo.toml "${@:2}"
}

# Both are parts of a Rust installation that may be left out.
style() {
    if cargo fmt --version >/dev/null 2>&1; then
        in_workspace fmt --all --check
        cargo fmt --manifest-path $crates/generate/Cargo.toml --check
    else
        echo 'cargo fmt is not installed: left out'
    fi
    if cargo clippy --version >/dev/null 2>&1; then
        in_workspace clippy --quiet --all-targets -- --deny warnings
    else
        echo 'cargo clippy is not installed: left out'
    fi
}

current_bindings() {
    LIBCLANG_PATH=${LIBCLANG_PATH:-$(echo "$PWD"/.venv/lib/python3*/site-packages/clang/native)} \
        cargo run --quiet --manifest-path $crates/generate/Cargo.toml -- \
        capi/include $crates/speft-sys/src/bindings.rs --check
}

rust_tests() {
    local status=0
    counted rust cargo test --manifest-path $crates/Cargo.toml --no-fail-fast -- --show-output \
        >build/logs/rust.log 2>&1 || status=$?
    .venv/bin/python tools/rust_junit.py build/logs/rust.log $results/rust.xml
    grep -E '^test result|^     Running|^   Doc-tests' build/logs/rust.log || true
    [ $status = 0 ] || { grep -E -A12 'FAILED|panicked at|^error|never call' build/logs/rust.log | head -60; return $status; }
}

stage 'rust: style' style
stage 'rust: bindings are current' current_bindings
stage 'rust: tests' rust_tests
stage 'rust: packages' tools/crate.sh
