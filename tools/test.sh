#!/usr/bin/env bash
# All tests. Every stage prints its seconds; the last line sums up what ran.
# With --quick: without the sanitizers, the other languages and the slow native ones (`make check`).
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh

export PATH="$PWD/.venv/bin:$PATH"
quick=${1:-}
results=build/results
mkdir -p $results build/logs

# CTest in one tree. JUnit's file says how many passed, also when some failed.
native_tests() {
    local tree=$1 name=$2
    ctest --test-dir "$tree" --output-on-failure --timeout 900 --output-junit "$PWD/$results/$name.xml" -j 2 ${quick:+-LE slow}
}

sanitized_tree() {
    local name=$1
    cmake --preset "$name" >build/logs/$name.log 2>&1 || { tail -20 build/logs/$name.log; return 1; }
    cmake --build "build/$name" >>build/logs/$name.log 2>&1 || { grep -E 'error|FAILED' -A5 build/logs/$name.log | head -40; return 1; }
}

python_tests() {
    .venv/bin/python -m pytest -q -p no:cacheprovider --junitxml $results/torch.xml bindings/python/tests/numpy bindings/python/tests/torch \
        tests/documentation
}

# A run of its own: its tests share a module, which the package's tests, run by name, do not look for beside them.
emulation_tests() {
    .venv/bin/python -m pytest -q -p no:cacheprovider --junitxml $results/emulation.xml tests/emulation
}

# The main job on a few rows: the whole way, in a minute.
short_demo() {
    .venv/bin/python examples/python/sentiment/main.py --out build/short-demo --steps 3 --salience-batches 2 --max-rows 400
}

[ -n "$quick" ] || rm -f $results/*.xml
stage 'native tests' native_tests build native
if [ -z "$quick" ]; then
    stage 'address and undefined-behaviour sanitizers: build' sanitized_tree asan
    stage 'address and undefined-behaviour sanitizers' native_tests build/asan asan
    stage 'thread sanitizer: build' sanitized_tree tsan
    stage 'thread sanitizer' native_tests build/tsan tsan
    tools/wheel.sh
    tools/test-rust.sh
    tools/test-java.sh
    tools/test-cpp.sh
    tools/test-jax.sh
    tools/test-rust-demo.sh
    tools/test-java-demo.sh
fi
stage 'Python tests with PyTorch' python_tests
stage 'Python tests on an emulated GPU' emulation_tests
stage 'short demo' short_demo
.venv/bin/python tools/summary.py $results
