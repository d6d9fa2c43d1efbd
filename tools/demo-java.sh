#!/usr/bin/env bash
# The Java demo, as a user has it: compiles the example against the installed package org.speft, and runs it. OUT
# (out/demo-java) receives the report and the adapters; arguments are for the program.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/java-demo.sh

trace_encoder
install_binding
example compile
java -cp "build/java-demo/classes:$(cat build/java-demo/class-path)" org.speft.examples.sentiment.Main \
    --out "${OUT:-out/demo-java}" "$@"
