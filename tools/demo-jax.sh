#!/usr/bin/env bash
# The JAX demo: MiniLM-L6 in plain JAX functions, trained sparsely in place. OUT (out/demo-jax) receives the report and
# the adapters; arguments are for the program.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/jax-environment.sh

jax_environment
exec build/jax-environment/bin/python examples/python/jax/main.py --out "${OUT:-out/demo-jax}" "$@"
