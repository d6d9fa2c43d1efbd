package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The program as it is started, on a few rows: the whole way. */
class ShortRunTest {
    @TempDir
    Path out;

    @Test
    void everyMethodTrainsReloadsAndUnmerges() throws IOException, InterruptedException {
        out = Path.of(Reference.property("short.run")); // stays, for Python to load the adapters
        Files.deleteIfExists(out.resolve("report.json"));
        assertEquals(0, run("--steps", "3", "--max-rows", "400", "--salience-batches", "2"));

        JsonObject report = JsonParser.parseString(Files.readString(out.resolve("report.json"))).getAsJsonObject();
        assertEquals(
                Set.of("methods", "reload_identical", "unmerge_bit_exact", "seconds_total", "training_texts",
                        "held_out", "settings", "environment"),
                report.keySet());
        assertTrue(report.get("reload_identical").getAsBoolean());
        assertTrue(report.get("unmerge_bit_exact").getAsBoolean());
        assertEquals(240, report.get("training_texts").getAsInt());
        assertEquals(80, report.get("held_out").getAsInt());
        List<String> names = new ArrayList<>();
        for (JsonElement element : report.getAsJsonArray("methods")) {
            JsonObject method = element.getAsJsonObject();
            String name = method.get("name").getAsString();
            names.add(name);
            // 0.5% of 10,616,832 scalars in 36 matrices; the head has 770.
            long trained = method.get("trained").getAsLong();
            assertEquals(name.equals("head-only") ? 770 : 53_854, trained, 36); // SpIEL rounds for each matrix
            assertTrue(method.get("adapter_bytes").getAsLong() > 4 * trained);
        }
        assertEquals(Method.NAMES, names);
    }

    @Test
    void theSameRunAgainGivesTheSameAdapter() throws IOException, InterruptedException {
        String[] options = {"--steps", "2", "--max-rows", "100", "--methods", "random"};
        assertEquals(0, run(options));
        byte[] first = Files.readAllBytes(out.resolve("random/adapter.safetensors"));
        assertEquals(0, run(options));
        assertEquals(-1, Arrays.mismatch(first, Files.readAllBytes(out.resolve("random/adapter.safetensors"))));
    }

    @Test
    void badInputIsOneLine() throws IOException, InterruptedException {
        assertEquals(2, run("--max-rows", "3"));
        assertEquals(
                "error: --max-rows: expected at least 5 rows, of which a fifth is held out, got 3\n",
                Files.readString(out.resolve("errors")));
        assertFalse(Files.exists(out.resolve("report.json")));
    }

    @Test
    void aBrokenModelIsOneLine(@TempDir Path broken) throws IOException, InterruptedException {
        Files.writeString(broken.resolve("model.pt"), "no module");
        Files.writeString(broken.resolve("tokenizer.json"), "no tokenizer");
        assertEquals(2, run("--methods", "head-only", "--model", broken.toString()));
        assertOneLine("error: --model " + broken + ": tokenizer.json cannot be used (");

        Path tokenizer = Path.of(Reference.property("model"), "tokenizer.json");
        Files.copy(tokenizer, broken.resolve("tokenizer.json"), StandardCopyOption.REPLACE_EXISTING);
        assertEquals(2, run("--methods", "head-only", "--model", broken.toString()));
        assertOneLine("error: --model " + broken + ": PyTorch cannot load model.pt (");
    }

    private void assertOneLine(String start) throws IOException {
        List<String> lines = Files.readAllLines(out.resolve("errors"));
        assertEquals(1, lines.size(), lines.toString());
        assertTrue(lines.get(0).startsWith(start), lines.get(0));
    }

    /** Runs the program, its errors in a file, and gives its exit status. */
    private int run(String... options) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp", System.getProperty("java.class.path"),
                Main.class.getName(),
                "--data", Reference.property("reviews"),
                "--model", Reference.property("model"),
                "--out", out.toString()));
        command.addAll(List.of(options));
        return new ProcessBuilder(command)
                .redirectOutput(out.resolve("output").toFile())
                .redirectError(out.resolve("errors").toFile())
                .start()
                .waitFor();
    }
}
