package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** What the Python demo makes of the same reviews and model (src/test/python/reference.py), and where both are. */
record Reference(
        Rows train,
        Rows heldOut,
        int maxRows,
        List<String> fewTrain,
        List<String> fewHeldOut,
        List<int[]> shuffled,
        List<int[]> inOrder,
        Map<String, float[]> head,
        List<String> targets,
        float[][] logits) {

    record Rows(List<String> texts, List<Integer> labels, List<long[]> tokens) {}

    static Reference read() throws IOException {
        return Settings.JSON.fromJson(Files.readString(Path.of(property("reference"))), Reference.class);
    }

    /** Settings by the command line's defaults, with the reviews and the model that the build names. */
    static Settings settings(String... options) {
        String[] all = new String[options.length + 4];
        all[0] = "--data";
        all[1] = property("reviews");
        all[2] = "--model";
        all[3] = property("model");
        System.arraycopy(options, 0, all, 4, options.length);
        return CommandLine.parse(all).settings();
    }

    /** A path that the build hands to the tests. */
    static String property(String name) {
        String value = System.getProperty(name);
        if (value == null || !Files.exists(Path.of(value))) {
            throw new AssertionError(name + ": expected a path, got " + value + "; run tools/test-java-demo.sh");
        }
        return value;
    }
}
