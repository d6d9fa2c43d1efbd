# Sourced by the scripts beside it: `counted NAME COMMAND…` runs the tests of a language with the parity cases, and
# counts the calls of the C API that they make: one that is never made is a failure (tests/parity/README.md).

counted() {
    local name=$1 calls=$PWD/build/calls/$1
    shift
    rm -rf "$calls"
    mkdir -p "$calls"
    SPEFT_PARITY_CASES=$PWD/build/parity SPEFT_CALLS=$calls LD_PRELOAD=$PWD/build/tests/libcalls.so "$@"
    .venv/bin/python tests/parity/called.py "$name" "$calls" tests/abi/exports.txt "build/results/calls-$name.xml"
}
