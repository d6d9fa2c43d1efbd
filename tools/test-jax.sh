#!/usr/bin/env bash
# The tests of speft.jax, on the wheel that set-up has built, in an environment of its own; and its example, shortened.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
source tools/jax-environment.sh

mkdir -p build/results
python=$PWD/build/jax-environment/bin/python

jax_tests() {
    "$python" -m pytest -q -p no:cacheprovider --junitxml build/results/jax.xml bindings/python/tests/jax
}

short_demo() {
    "$python" examples/python/jax/main.py --out build/short-demo-jax --steps 3 --salience-batches 2 --max-rows 400
}

stage 'JAX: environment' jax_environment
stage 'JAX: tests' jax_tests
stage 'JAX: short demo' short_demo
