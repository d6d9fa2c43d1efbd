#!/usr/bin/env bash
# The C demo, as a user has it: compiles the example against the libspeft that is installed in SPEFT_ROOT
# (build/installed), and runs it. OUT (out/demo-c) receives the reviews and the adapter.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
root=$(cd "${SPEFT_ROOT:-build/installed}" && pwd)
mkdir -p "${OUT:=out/demo-c}" build/demo-c
program=$PWD/build/demo-c/sentiment
make -s -C examples/c/sentiment SPEFT="$root" PROGRAM="$program"

# An archive in an archive: the resources of the paper that the ratings come from (Hutto and Gilbert 2014).
tar -xOf .cache/vaderSentiment-3.3.2.tar.gz vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz |
    tar -xzf - -C "$OUT" --strip-components 1 \
        hutto_ICWSM_2014/{amazon,movie}ReviewSnippets_GroundTruth.txt

"$program" "$OUT"/{amazon,movie}ReviewSnippets_GroundTruth.txt "$OUT/adapter.safetensors"
