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
    RUSTDOCFLAGS='--deny warnings' in_workspace doc --quiet --no-deps
}

current_bindings() {
    LIBCLANG_PATH=${LIBCLANG_PATH:-$(echo "$PWD"/.venv/lib/python3*/site-packages/clang/native)} \
        cargo run --quiet --manifest-path $crates/generate/Cargo.toml -- \
        capi/include $crates/speft-sys/src/bindings.rs --check
}

rust_tests() {
    local status
    set +e # the JUnit file is wanted of a failure, too
    (set -e; counted rust cargo test --manifest-path $crates/Cargo.toml --no-fail-fast -- --show-output) \
        >build/logs/rust.log 2>&1
    status=$?
    set -e
    .venv/bin/python tools/rust_junit.py build/logs/rust.log $results/rust.xml
    grep -E '^test result|^     Running|^   Doc-tests' build/logs/rust.log || true
    # What failed; where nothing ran, the compiler's last words.
    [ $status = 0 ] || { sed -n -e '/^failures:$/,/^test result/p' -e '/never call/p' build/logs/rust.log | grep . || tail -60 build/logs/rust.log; }
    return $status
}

# The build script of speft-sys, where the shared library is named, known to pkg-config, and nowhere.
finding() {
    local sys=(--quiet --manifest-path $crates/Cargo.toml --package speft-sys --target-dir build/rust-finding) words
    env -u SPEFT_ROOT PKG_CONFIG_PATH="$SPEFT_ROOT/lib/pkgconfig" cargo test "${sys[@]}" --doc
    cargo test "${sys[@]}" --doc --features static
    if env -u SPEFT_ROOT PKG_CONFIG_LIBDIR=/nowhere cargo check "${sys[@]}" 2>build/logs/finding.log; then
        echo 'speft-sys found a libspeft where there is none'
        return 1
    fi
    for words in 'SPEFT_ROOT is not set' 'pkg-config: ' 'the feature "bundled" is off'; do
        grep -qF "$words" build/logs/finding.log || { echo "speft-sys does not tell: $words"; return 1; }
    done
    if SPEFT_ROOT=/nowhere cargo check "${sys[@]}" 2>build/logs/finding.log; then
        echo 'speft-sys found a libspeft in /nowhere'
        return 1
    fi
    grep -qF 'SPEFT_ROOT=/nowhere: ' build/logs/finding.log
}

stage 'rust: style' style
stage 'rust: bindings are current' current_bindings
stage 'rust: tests' rust_tests
stage 'rust: finding libspeft' finding
stage 'rust: packages' tools/crate.sh
