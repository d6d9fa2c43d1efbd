# Sourced by demo-java.sh and test-java-demo.sh, in the root of the repository: what both need made.

source tools/java-natives.sh
export DJL_CACHE_DIR=$PWD/build/djl # where DJL unpacks PyTorch

trace_encoder() {
    local program=examples/python/torchscript/trace.py
    [ build/torchscript/model.pt -nt $program ] || python $program build/torchscript
}

# Into Maven's local repository, where the example finds it as any other package.
install_binding() {
    java_natives
    mvn -q -B -Dstyle.color=never -f bindings/java/pom.xml -DskipTests -Dmaven.javadoc.skip install
}

example() {
    mvn -q -B -Dstyle.color=never -f examples/java/sentiment/pom.xml "$@"
}
