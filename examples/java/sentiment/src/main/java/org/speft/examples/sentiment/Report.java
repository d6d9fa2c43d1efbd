package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a comparison leaves: a table to read at once, and report.json for programs, with the keys of the Python demo's.
 *
 * @param methods their figures
 * @param checks the answers by name; empty when no method was sparse
 * @param secondsTotal the time of all of it
 * @param trainingTexts how many there were
 * @param heldOut how many texts the methods are judged by
 * @param settings what it was run with
 */
record Report(
        List<Training.Result> methods,
        Map<String, Boolean> checks,
        double secondsTotal,
        int trainingTexts,
        int heldOut,
        Settings settings) {
    static final String RELOAD_IDENTICAL = "reload_identical";
    static final String UNMERGE_BIT_EXACT = "unmerge_bit_exact";
    private static final Map<String, String> CHECKS = Map.of(
            RELOAD_IDENTICAL, "predictions after reloading the adapter in a fresh process",
            UNMERGE_BIT_EXACT, "weights after unmerging, against the pretrained bits");
    private static final List<String> HEADINGS = List.of(
            "method", "accuracy", "loss", "trained scalars", "density", "adapter file", "time of a step",
            "peak memory");

    void write(Path path) throws IOException {
        Map<String, Object> content = new LinkedHashMap<>();
        content.put("methods", methods);
        content.putAll(checks);
        content.put("seconds_total", secondsTotal);
        content.put("training_texts", trainingTexts);
        content.put("held_out", heldOut);
        content.put("settings", settings);
        content.put("environment", Environment.describe());
        Settings.writeJson(path, content);
    }

    /** The methods as lines, then the checks and the time. */
    String table() {
        List<List<String>> rows = new ArrayList<>();
        rows.add(HEADINGS);
        for (Training.Result method : methods) {
            rows.add(List.of(
                    method.name(),
                    format("%.1f%%", 100 * method.accuracy()),
                    format("%.3f", method.loss()),
                    format("%,d", method.trained()),
                    format("%.2f%%", 100 * method.density()),
                    size(method.adapterBytes()),
                    format("%,.0f ms", 1000 * method.secondsPerStep()),
                    size(method.peakRssBytes())));
        }
        List<String> lines = new ArrayList<>();
        for (List<String> row : rows) {
            StringBuilder line = new StringBuilder();
            for (int column = 0; column < row.size(); column++) {
                int place = column;
                int width = rows.stream().mapToInt(other -> other.get(place).length()).max().orElseThrow();
                line.append(format(column == 0 ? "%-" + width + "s" : "  %" + width + "s", row.get(column)));
            }
            lines.add(line.toString());
        }
        lines.add(1, "-".repeat(lines.get(0).length()));
        lines.add("");
        checks.forEach((name, same) -> lines.add(CHECKS.get(name) + ": " + (same ? "identical" : "DIFFERENT")));
        lines.add(format("%.0f s in all", secondsTotal));
        return String.join("\n", lines);
    }

    /** Bytes to three digits, in decimal units: 1 MB is a million bytes. */
    static String size(long bytes) {
        boolean small = bytes < 1_000_000;
        double count = bytes / (small ? 1e3 : 1e6);
        return format(count >= 100 ? "%,.0f %s" : "%.1f %s", count, small ? "kB" : "MB");
    }

    private static String format(String pattern, Object... values) {
        return String.format(Locale.ROOT, pattern, values);
    }
}
