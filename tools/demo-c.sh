#!/usr/bin/env bash
# The C demo, as a user has it: installs libspeft from the build tree SPEFT_BUILD (build), compiles the example against
# what is installed, and runs it. OUT (out/demo-c) receives the reviews and the adapter.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
build=$(cd "${SPEFT_BUILD:-build}" && pwd)
mkdir -p "${OUT:=out/demo-c}"

for component in runtime development; do
    cmake --install "$build" --prefix "$build/installed" --component $component >/dev/null
done
make -s -C examples/c/sentiment SPEFT="$build/installed" PROGRAM="$build/installed/sentiment"

# An archive in an archive: the resources of the paper that the ratings come from (Hutto and Gilbert 2014).
tar -xOf .cache/vaderSentiment-3.3.2.tar.gz vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz |
    tar -xzf - -C "$OUT" --strip-components 1 \
        hutto_ICWSM_2014/{amazon,movie}ReviewSnippets_GroundTruth.txt

"$build/installed/sentiment" "$OUT"/{amazon,movie}ReviewSnippets_GroundTruth.txt "$OUT/adapter.safetensors"
