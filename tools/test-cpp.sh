#!/usr/bin/env bash
# What C++ users have: the installed packages, the header's tests, the examples. The native build has to be there.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
source tools/counted.sh
source tools/cpp-examples.sh

results=build/results
mkdir -p $results

# CTest counts them as one; here each is a case, and runs against the installed library.
header_tests() {
    LD_LIBRARY_PATH=$SPEFT_ROOT/lib counted cpp build/bindings/cpp/tests/cpp_tests --color_output=no \
        --logger=HRF,error,stdout:JUNIT,error,$results/cpp.xml
}

package_tests() {
    $python -m pytest -q -p no:cacheprovider --junitxml $results/cpp-package.xml tests/package examples/cpp/tests
}

stage 'C++: tests of the header' header_tests
stage 'C++: examples' build_examples
stage 'C++: packages and examples' package_tests
