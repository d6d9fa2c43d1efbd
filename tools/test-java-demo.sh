#!/usr/bin/env bash
# The tests of the Java demo: its parts against the Python demo's, and the whole of it on a few rows.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
source tools/java-demo.sh
mkdir -p build/java-demo/short-run build/results

write_reference() {
    python examples/java/sentiment/src/test/python/reference.py build/java-demo/reference.json
}

# JUnit's files say how many passed, also when some failed.
run_tests() {
    local status=0 report
    rm -rf build/java-demo/surefire-reports build/results/java-demo*.xml
    example test || status=$?
    for report in build/java-demo/surefire-reports/TEST-*.xml; do
        [ ! -f "$report" ] || cp "$report" "build/results/java-demo-${report##*.sentiment.}"
    done
    return $status
}

python_tests() {
    JAVA_DEMO_RUN=build/java-demo/short-run python -m pytest -q -p no:cacheprovider \
        --junitxml build/results/java-demo-python.xml examples/java/sentiment/src/test/python
}

stage 'Java demo: trace the encoder' trace_encoder
stage 'Java demo: reference from Python' write_reference
stage 'Java demo: install the binding' install_binding
stage 'Java demo: tests' run_tests
stage 'Java demo: its adapters in Python' python_tests
