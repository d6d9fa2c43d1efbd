#!/usr/bin/env bash
# The tests that need a GPU: every operation against the same truths as the CPU's, again under compute-sanitizer where it
# is installed, and PyTorch's integration. Works offline, with what tools/cuda-kit.sh has put together.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/cuda-device.sh
source tools/stage.sh

export SPEFT_TEST_BACKENDS=cuda SPEFT_TEST_BACKEND_FOLDER=$kit/python/speft_cu13
results=build/results-cuda
mkdir -p $results

# Its first argument says which cases; what follows runs it.
conformance() {
    "${@:2}" $kit/bin/conformance --log_level=error --run_test="$1"
}
some='*/*settings*'  # of each operation: looking for races takes a hundred times as long

stage 'CUDA: every operation' conformance '*'
if command -v compute-sanitizer >/dev/null; then
    stage 'CUDA: memory checks' conformance '*' compute-sanitizer --tool memcheck --error-exitcode 1
    stage 'CUDA: race checks' conformance "$some" compute-sanitizer --tool racecheck --error-exitcode 1
else
    echo 'skipped: no compute-sanitizer'
fi
stage 'CUDA: Python tests' $python -m pytest -q -p no:cacheprovider --junitxml $results/torch.xml \
    bindings/python/tests/torch/test_cuda.py
