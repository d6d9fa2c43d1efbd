# Sourced by demo-java.sh and test-java-demo.sh, in the root of the repository: what both need made. SPEFT_ROOT
# (build/installed) is where libspeft is installed.

export PATH="$PWD/.venv/bin:$PATH"
export DJL_CACHE_DIR=$PWD/build/djl # where DJL unpacks PyTorch

trace_encoder() {
    local program=examples/python/torchscript/trace.py
    [ build/torchscript/model.pt -nt $program ] || python $program build/torchscript
}

# Into Maven's local repository, where the example finds it as any other package.
install_binding() {
    local root
    root=$(realpath "${SPEFT_ROOT:-build/installed}")
    [ -f "$root/lib/libspeft.so.0" ] || { echo "error: there is no libspeft in $root"; return 1; }
    mkdir -p build/logs
    {
        cmake -S bindings/java -B build/java-native -G Ninja -DSPEFT_ROOT="$root" -DSPEFT_JAVA_OUTPUT="$PWD/build/java" &&
            cmake --build build/java-native
    } >build/logs/java-native.log 2>&1 || { tail -20 build/logs/java-native.log; return 1; }
    mvn -q -B -Dstyle.color=never -f bindings/java/pom.xml -DskipTests -Dmaven.javadoc.skip install
}

example() {
    mvn -q -B -Dstyle.color=never -f examples/java/sentiment/pom.xml "$@"
}
