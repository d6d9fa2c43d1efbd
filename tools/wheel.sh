#!/usr/bin/env bash
# The wheels that set-up has built, made ready for other machines: audited, named after the oldest C library they run on,
# put into out/wheel/, and tested where there is NumPy and nothing else. The CUDA backend has one of its own, where
# set-up had a compiler for it.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/counted.sh
source tools/stage.sh

export PATH="$PWD/.venv/bin:$PATH"
mkdir -p build/logs build/results

# The first finds what the wheels need of the machine, the second that the extension keeps to Python's stable ABI.
audit() {
    rm -rf out/wheel
    auditwheel repair -w out/wheel build/wheel*/*.whl >build/logs/auditwheel.log 2>&1 || { tail -20 build/logs/auditwheel.log; return 1; }
    abi3audit --strict --summary out/wheel/speft-*.whl >build/logs/abi3audit.log 2>&1 || { tail -20 build/logs/abi3audit.log; return 1; }
}

clean_environment() {
    [ -x build/clean/bin/pip ] || python3 -m venv --clear build/clean
    build/clean/bin/pip install -q --disable-pip-version-check -r tools/requirements-clean.txt
    build/clean/bin/pip uninstall -q --disable-pip-version-check -y speft-cu13 2>/dev/null
    build/clean/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall out/wheel/*.whl
}

numpy_tests() {
    counted Python build/clean/bin/python -m pytest -q -p no:cacheprovider --junitxml build/results/numpy.xml bindings/python/tests/numpy
}

# Whether speft finds the backend of the other wheel, which links nothing but the C library and finds a driver by itself.
cuda_backend() {
    (cd build/clean && bin/python -c 'if True:
        import speft
        cuda = next(backend for backend in speft.backends() if backend.name == "cuda")
        assert cuda.version == speft.__version__, cuda
        print(cuda.reason or "available")')
}

stage 'wheel: audit' audit
stage 'wheel: clean environment' clean_environment
if compgen -G 'out/wheel/speft_cu13-*.whl' >/dev/null; then stage 'wheel: CUDA backend' cuda_backend; fi
stage 'wheel: Python tests with NumPy alone' numpy_tests
ls out/wheel/*.whl
