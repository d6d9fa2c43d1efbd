# Sourced by test-java.sh and java-demo.sh, in the root of the repository: `java_natives` makes the native half of the
# Java binding in build/java, over the libspeft that is installed at SPEFT_ROOT (build/installed).

export PATH="$PWD/.venv/bin:$PATH"

java_natives() {
    local root=${SPEFT_ROOT:-$PWD/build/installed} log=build/logs/java-native.log
    [ -f "$root/lib/libspeft.so.0" ] || { echo "error: there is no libspeft in $root"; return 1; }
    mkdir -p build/logs
    cmake -S bindings/java -B build/java-native -G Ninja -DSPEFT_ROOT="$(realpath "$root")" \
        -DSPEFT_JAVA_OUTPUT="$PWD/build/java" >$log 2>&1 || { tail -20 $log; return 1; }
    cmake --build build/java-native >>$log 2>&1 || { grep -E 'error|FAILED' -A5 $log | head -40; return 1; }
}
