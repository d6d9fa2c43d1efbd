#!/usr/bin/env bash
# The JAX demo: MiniLM-L6 in plain JAX functions, trained sparsely in place. Options are the program's own (--help). The
# report and the adapters are left in out/demo-jax, or where --out says.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/jax-environment.sh

jax_environment
exec build/jax-environment/bin/python examples/python/jax/main.py "$@"
