#!/usr/bin/env bash
# The C++ examples, as a user has them: built against the installed libspeft, and run. OUT (out/demo-cpp) receives the
# report and the adapters; arguments are for the language model's program.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/cpp-examples.sh

build_examples
build/cpp-regression/regression
unpack_reviews "${OUT:=out/demo-cpp}"
build/cpp-sentiment/sentiment --data "$OUT/movieReviewSnippets_GroundTruth.txt" --model "$(find_model)" \
    --out "$OUT" "$@"
