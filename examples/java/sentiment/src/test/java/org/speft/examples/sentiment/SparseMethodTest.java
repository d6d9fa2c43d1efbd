package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.speft.CorruptException;
import org.speft.SpeftException;

class SparseMethodTest {
    /** SpIEL moves masks after step 5, and then has a while. */
    private static final int STEPS = 8;

    private final Settings settings =
            Reference.settings("--max-rows", "100", "--steps", Integer.toString(STEPS));
    private final Batches.Batch batch =
            new Batches(Dataset.load(settings).train(), settings).shuffled(1, 8, "test").get(0);
    private final Classifier classifier = new Classifier(settings);

    SparseMethodTest() throws IOException {}

    @AfterEach
    void close() {
        classifier.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"random", "gradient", "spiel-ag"})
    void theSelectedScalarsAndTheHeadMoveAndComeBack(String name) throws IOException {
        float[] head = classifier.array("head.weight").toFloatArray();
        float[][] before = matrices();
        try (SparseMethod method = SparseMethod.create(name, classifier, settings)) {
            method.prepare(List.of(batch));
            assertArrayEquals(before, matrices()); // choosing moves nothing
            method.step(batch);
            method.step(batch);
            assertEquals(0.005, method.density(), 36 / 10_616_832.0); // rounded, by SpIEL for each matrix

            long moved = count(before, matrices());
            long selected = method.trained() - 770;
            assertTrue(moved > selected / 2 && moved <= selected, moved + " moved of " + selected);
            assertFalse(Arrays.equals(head, classifier.array("head.weight").toFloatArray()));
            assertTrue(method.unmergesExactly(settings));
        }
        assertArrayEquals(before, matrices());
        assertArrayEquals(head, classifier.array("head.weight").toFloatArray());
    }

    @Test
    void masksMoveWhileTraining() throws IOException {
        try (SparseMethod method = SparseMethod.create("spiel-ag", classifier, settings)) {
            method.prepare(List.of());
            long trained = method.trained();
            for (int step = 0; step < STEPS; step++) {
                assertEquals(step < 5 ? 0 : 1, method.reselections().size());
                method.step(batch);
            }
            assertTrue(method.reselections().get(0).grown() > 0);
            assertEquals(method.reselections().get(0).grown(), method.reselections().get(0).dropped());
            assertEquals(trained, method.trained());
            assertTrue(method.unmergesExactly(settings)); // also of those that were dropped
        }
    }

    @Test
    void gradientsAreClearedWhenTheyAreHandedOver() {
        try (SparseMethod method = SparseMethod.create("random", classifier, settings)) {
            method.prepare(List.of());
            method.step(batch);
            for (String name : List.of(classifier.targets().get(0), "head.bias")) {
                try (NDArray gradient = classifier.array(name).getGradient()) {
                    for (float value : gradient.toFloatArray()) {
                        assertEquals(0, value);
                    }
                }
            }
        }
        assertFalse(classifier.array("head.bias").hasGradient());
    }

    @Test
    void whatIsLoadedPredictsTheSame(@TempDir Path directory) throws IOException {
        float[] trained;
        try (SparseMethod method = SparseMethod.create("random", classifier, settings)) {
            method.prepare(List.of());
            method.step(batch);
            trained = classifier.predict(batch);
            method.save(directory);
            assertTrue(method.unmergesExactly(settings));
        }
        assertFalse(Arrays.equals(trained, classifier.predict(batch)));
        try (SparseMethod method = SparseMethod.load(directory, classifier, settings)) {
            assertArrayEquals(trained, classifier.predict(batch));
            assertTrue(method.unmergesExactly(settings));
        }
    }

    @Test
    void otherWeightsAreRefused(@TempDir Path directory) {
        try (SparseMethod method = SparseMethod.create("random", classifier, settings)) {
            method.prepare(List.of());
            method.step(batch);
            method.save(directory);
        } // the weights stay as trained
        SpeftException failure = assertThrows(
                SpeftException.class, () -> SparseMethod.load(directory, classifier, settings));
        assertTrue(failure.getMessage().contains("encoder.encoder.layer."), failure.getMessage());
    }

    @Test
    void aDamagedFileIsRefused(@TempDir Path directory) throws IOException {
        Files.writeString(directory.resolve("adapter.safetensors"), "no adapter");
        assertThrows(CorruptException.class, () -> SparseMethod.load(directory, classifier, settings));
    }

    @Test
    void trainingLowersTheLoss() {
        try (SparseMethod method = SparseMethod.create("random", classifier, settings)) {
            method.prepare(List.of());
            float first = method.step(batch);
            float last = first;
            for (int step = 1; step < STEPS; step++) {
                last = method.step(batch);
            }
            assertTrue(last < first, last + " after " + first);
        }
    }

    private float[][] matrices() {
        return classifier.targets().stream()
                .map(name -> classifier.array(name).toFloatArray())
                .toArray(float[][]::new);
    }

    private static long count(float[][] before, float[][] after) {
        long different = 0;
        for (int i = 0; i < before.length; i++) {
            for (int j = 0; j < before[i].length; j++) {
                different += before[i][j] != after[i][j] ? 1 : 0;
            }
        }
        return different;
    }
}
