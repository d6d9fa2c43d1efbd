#!/usr/bin/env bash
# Every operation on a GPU against its limits and against PyTorch. Works offline, as tools/test-cuda.sh does.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/cuda-device.sh

$python -m benchmarks --device cuda --only activations selection accumulation step merging quantized "$@"
