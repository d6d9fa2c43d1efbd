#!/usr/bin/env bash
# What tests and benchmarks on a GPU need of the trees that set-up makes, in one folder, build/cuda-kit/: a machine with
# a GPU that has PyTorch but no network, no Boost and no compiler can run it as it is (x86-64 Linux, glibc 2.36).
set -euo pipefail
cd "$(dirname "$0")/.."

kit=build/cuda-kit
[ -d build/wheel-cu13 ] || { echo 'error: the build has no CUDA backend: run make setup where there is nvcc'; exit 1; }
rm -rf $kit
mkdir -p $kit/lib $kit/bin $kit/python
cp build/tests/conformance/conformance $kit/bin/
ldd $kit/bin/conformance | sed -n 's/.*=> \(.*libboost[^ ]*\) .*/\1/p' | xargs -r cp -t $kit/lib
for wheel in build/wheel/speft-*.whl build/wheel-cu13/speft_cu13-*.whl; do
    python3 -m zipfile -e "$wheel" $kit/python
done
du -sh $kit
