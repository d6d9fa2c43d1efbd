#!/usr/bin/env bash
# The Rust crates as packages, in out/crates/: speft-sys with the source of libspeft in it. Then a program in a folder of
# its own depends on them, as a user's would, and is run.
#
#   SPEFT_ROOT      where libspeft is installed; build/installed
set -euo pipefail
cd "$(dirname "$0")/.."

export SPEFT_ROOT=${SPEFT_ROOT:-$PWD/build/installed}
export CARGO_TARGET_DIR=$PWD/build/rust CARGO_TERM_COLOR=never
# What `bundled` builds, and its licence. The archive is made with the list of what it exports.
source_files() {
    git ls-files -- CMakeLists.txt cmake core capi backends/cpu LICENSE THIRD_PARTY_NOTICES.md tests/abi/exports.txt
}

# A copy of the crates without links, in which nothing is left of an earlier one.
staged=build/crates
rm -rf $staged out/crates
mkdir -p $staged out/crates build/logs
git ls-files -- bindings/rust ':!bindings/rust/generate' | tar cf - --dereference -T - | tar xf - -C $staged --strip-components=2
mkdir $staged/speft-sys/source
source_files | tar cf - -T - | tar xf - -C $staged/speft-sys/source

# Without cargo's own trial build: it unpacks speft-sys into the user's registry under a name that does not change with
# the content, and would build speft against the one of an earlier run. The program below builds what was packed.
cargo package --manifest-path $staged/Cargo.toml --workspace --allow-dirty --no-metadata --no-verify \
    >build/logs/crate.log 2>&1 ||
    { tail -30 build/logs/crate.log; exit 1; }
cp $CARGO_TARGET_DIR/package/speft-*.crate out/crates/

# A clean folder: the packages unpacked, and the ten lines of the README.
user=build/crate-user
rm -rf $user
mkdir -p $user/src
for package in out/crates/*.crate; do
    tar xf "$package" -C $user
done
diff <(source_files | sort) <(cd $user/speft-sys-*/source && find . -type f -printf '%P\n' | sort) ||
    { echo 'speft-sys has other sources than the repository'; exit 1; }
sed -n '/^```rust$/,/^```$/p' bindings/rust/speft/README.md | sed '/^```/d' >$user/src/main.rs
cat >$user/Cargo.toml <<EOF
[package]
name = "user"
edition = "2024"

[dependencies]
speft = "0.1"

[patch.crates-io]
speft = { path = "$(basename $user/speft-[0-9]*[0-9])" }
speft-sys = { path = "$(basename $user/speft-sys-[0-9]*[0-9])" }

[workspace]
EOF
LD_LIBRARY_PATH=$SPEFT_ROOT/lib cargo run --quiet --manifest-path $user/Cargo.toml
ls out/crates/*.crate
