package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CommandLineTest {
    @Test
    void withoutOptionsItIsThePythonDemosJob() {
        CommandLine line = CommandLine.parse();
        Settings settings = line.settings();
        assertEquals(160, settings.steps());
        assertEquals(32, settings.batchSize());
        assertEquals(16, settings.salienceBatches());
        assertEquals(0.005, settings.density());
        assertEquals(48, settings.maxTokens());
        assertNull(settings.maxRows());
        assertEquals(0, settings.seed());
        assertEquals(Method.NAMES, line.methods());
    }

    @Test
    void optionsAreTaken() {
        CommandLine line = CommandLine.parse(
                "--methods", "gradient", "random", "gradient", "--steps", "3", "--max-rows", "400", "--density", "1",
                "--salience-batches", "2", "--out", "somewhere", "--seed", "0");
        Settings settings = line.settings();
        assertEquals(List.of("gradient", "random"), line.methods());
        assertEquals(3, settings.steps());
        assertEquals(400, settings.maxRows());
        assertEquals(1.0, settings.density());
        assertEquals(2, settings.salienceBatches());
        assertEquals("somewhere", settings.out());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            textBlock = """
            --stops 3          | unknown option '--stops'; --help lists them
            --steps            | --steps: expected a value after it
            --steps 0          | --steps: expected a whole number of at least 1, got '0'
            --steps 3.5        | --steps: expected a whole number of at least 1, got '3.5'
            --seed -1          | --seed: expected a whole number of at least 0, got '-1'
            --density 1.5      | --density: expected a number above 0 and at most 1, got '1.5'
            --density nan      | --density: expected a number above 0 and at most 1, got 'nan'
            --methods          | --methods: expected some of head-only, random, gradient, spiel-ag
            --methods lottery  | --methods: expected some of head-only, random, gradient, spiel-ag, got 'lottery'
            """)
    void whatCannotBeUsedIsNamed(String arguments, String message) {
        InputException failure =
                assertThrows(InputException.class, () -> CommandLine.parse(arguments.split(" ")));
        assertEquals(message, failure.getMessage());
    }

    @Test
    void missingFilesAreNamed(@TempDir Path directory) throws IOException {
        String absent = directory.resolve("absent").toString();
        assertCheck("--data " + absent + ": there is no such file", "--data", absent);
        String reviews = Files.createFile(directory.resolve("reviews")).toString();
        assertCheck(
                "--model " + directory + ": expected a directory with model.pt",
                "--data", reviews, "--model", directory.toString());
        Files.createFile(directory.resolve("model.pt"));
        Files.createFile(directory.resolve("tokenizer.json"));
        assertCheck(
                "--out " + reviews + ": cannot be written",
                "--data", reviews, "--model", directory.toString(), "--out", reviews);
    }

    private static void assertCheck(String start, String... arguments) {
        CommandLine line = CommandLine.parse(arguments);
        InputException failure = assertThrows(InputException.class, line::check);
        assertTrue(failure.getMessage().startsWith(start), failure.getMessage());
    }
}
