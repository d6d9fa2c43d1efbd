#!/usr/bin/env bash
# The Java binding over an installed libspeft (SPEFT_ROOT, build/installed): its native layer, its tests, its Javadoc and
# its jars, which are then tried in a clean place, from out/java/. Maven needs a network the first time only.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/stage.sh
source tools/counted.sh
source tools/java-natives.sh

java=$PWD/build/java
mkdir -p build/logs build/results

# The results are kept also when a test has failed. What CheckJNI finds it prints, which Surefire puts into a file.
maven() {
    local failed= report
    rm -rf build/results/java-*.xml "$java"/maven/{surefire-reports,maven-javadoc-plugin-stale-data.txt}
    mvn -B -q -f bindings/java/pom.xml -Dspeft.build="$java" package >build/logs/java.log 2>&1 || failed=1
    for report in "$java"/maven/surefire-reports/TEST-*.xml; do
        if [ -f "$report" ]; then cp "$report" "build/results/java-${report##*/TEST-org.speft.}"; fi
    done
    if grep -sh 'in native method' "$java"/maven/surefire-reports/*.dumpstream build/logs/java.log; then failed=1; fi
    [ -z "$failed" ] || { grep -vE '^\s+at (org.junit|java.base|org.apache)' build/logs/java.log | tail -60; return 1; }
}

# Two jars and a program that was compiled with javac alone: the README's.
clean_place() {
    rm -rf out/java "$java/clean"
    mkdir -p out/java "$java/clean"
    cp "$java"/maven/speft-*.jar out/java/
    local jars said
    jars=$(find "$PWD/out/java" -name '*.jar' ! -name '*-sources.jar' ! -name '*-javadoc.jar' -printf '%p:')
    sed -n '/test: java-example/,/^```$/{/^```\|^<!--/d;p}' bindings/java/README.md >"$java/clean/Example.java"
    (
        cd "$java/clean"
        javac -cp "$jars" Example.java
        said=$(env -i PATH="$PATH" java -cp "$jars." Example)
        [ "$said" = '0.50 -0.25' ] || { echo "error: the example of bindings/java/README.md printed $said"; exit 1; }
    )
}

stage 'Java: native layer' java_natives
stage 'Java: tests, Javadoc, jars' counted java maven
stage 'Java: the jars in a clean place' clean_place
ls out/java/*.jar
