#!/usr/bin/env bash
# The wheel that set-up has built, made ready for other machines: audited, named after the oldest C library it runs on,
# put into out/wheel/, and tested where there is NumPy and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/counted.sh
source tools/stage.sh

export PATH="$PWD/.venv/bin:$PATH"
mkdir -p build/logs build/results

# The first finds what the wheel needs of the machine, the second that its extension keeps to Python's stable ABI.
audit() {
    rm -rf out/wheel
    auditwheel repair -w out/wheel build/wheel/*.whl >build/logs/auditwheel.log 2>&1 || { tail -20 build/logs/auditwheel.log; return 1; }
    abi3audit --strict --summary out/wheel/*.whl >build/logs/abi3audit.log 2>&1 || { tail -20 build/logs/abi3audit.log; return 1; }
}

clean_environment() {
    [ -x build/clean/bin/pip ] || python3 -m venv --clear build/clean
    build/clean/bin/pip install -q --disable-pip-version-check -r tools/requirements-clean.txt
    build/clean/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall out/wheel/*.whl
}

numpy_tests() {
    counted Python build/clean/bin/python -m pytest -q -p no:cacheprovider --junitxml build/results/numpy.xml bindings/python/tests/numpy
}

stage 'wheel: audit' audit
stage 'wheel: clean environment' clean_environment
stage 'wheel: Python tests with NumPy alone' numpy_tests
ls out/wheel/*.whl
