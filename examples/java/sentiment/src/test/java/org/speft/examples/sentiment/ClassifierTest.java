package org.speft.examples.sentiment;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class ClassifierTest {
    private static Settings settings;
    private static Reference reference;
    private static Classifier classifier;

    @BeforeAll
    static void open() throws IOException {
        reference = Reference.read();
        settings = Reference.settings("--max-rows", Integer.toString(reference.maxRows()));
        classifier = new Classifier(settings);
    }

    @AfterAll
    static void close() {
        classifier.close();
    }

    @Test
    void theHeadBeginsAsPythons() {
        assertEquals(List.of("head.weight", "head.bias"), classifier.headNames());
        assertArrayEquals(reference.head().get("weight"), classifier.array("head.weight").toFloatArray());
        assertArrayEquals(reference.head().get("bias"), classifier.array("head.bias").toFloatArray());
    }

    @Test
    void theTargetsArePythons() {
        assertEquals(new HashSet<>(reference.targets()), new HashSet<>(classifier.targets()));
        assertEquals(36, classifier.targets().size());
    }

    @Test
    void theLogitsArePythonsUpToRounding() throws IOException {
        List<Dataset.Row> rows = Dataset.load(settings).heldOut();
        float[][] logits = Evaluation.predict(classifier, rows, settings);
        assertEquals(reference.logits().length, logits.length);
        for (int row = 0; row < logits.length; row++) {
            // Another version of PyTorch and another form of attention: six layers of float32 sums in other orders.
            assertArrayEquals(reference.logits()[row], logits[row], 1e-4f);
        }
    }

    @Test
    void onlyWhatIsTrainedHasGradientsAndTheyAddUp() throws IOException {
        Batches.Batch batch = batch();
        String trained = classifier.targets().get(0);
        classifier.train(List.of(trained));
        classifier.backward(batch);
        float[] once;
        try (NDArray gradient = classifier.array(trained).getGradient()) {
            once = gradient.toFloatArray();
        }
        classifier.backward(batch);
        try (NDArray gradient = classifier.array(trained).getGradient()) {
            float[] twice = gradient.toFloatArray();
            for (int i = 0; i < twice.length; i++) {
                assertEquals(2 * once[i], twice[i]); // the same numbers again, and doubling is exact
            }
        }
        assertFalse(classifier.array("head.weight").hasGradient());
        classifier.train(List.of());
        assertFalse(classifier.array(trained).hasGradient());
    }

    @Test
    void theSameTextsGiveTheSameBits() throws IOException {
        Batches.Batch batch = batch();
        assertArrayEquals(classifier.predict(batch), classifier.predict(batch));
    }

    @Test
    void memoryIsTheArrays() {
        NDArray weights = classifier.array(classifier.targets().get(0));
        float before = weights.getFloat(0, 0);
        DirectMemory.of(weights).putFloat(0, 42);
        assertEquals(42, weights.getFloat(0, 0));
        DirectMemory.of(weights).putFloat(0, before);
    }

    @Test
    void memoryOfATransposedArrayIsRefused() {
        try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
            NDArray transposed = manager.arange(6f).reshape(new Shape(2, 3)).transpose();
            transposed.setName("transposed");
            IllegalArgumentException failure =
                    assertThrows(IllegalArgumentException.class, () -> DirectMemory.of(transposed));
            assertTrue(failure.getMessage().startsWith("'transposed': expected a contiguous array"));
        }
    }

    @Test
    void theHeadAloneLearns() throws IOException {
        Batches.Batch batch = batch();
        float[] matrix = classifier.array(classifier.targets().get(0)).toFloatArray();
        float[] weight = classifier.array("head.weight").toFloatArray();
        float[] bias = classifier.array("head.bias").toFloatArray();
        try (HeadOnly method = new HeadOnly(classifier, 1e-2, 5)) {
            assertEquals(770, method.trained());
            float first = method.step(batch);
            float last = first;
            for (int step = 1; step < 5; step++) {
                last = method.step(batch);
            }
            assertTrue(last < first, last + " after " + first);
        }
        assertArrayEquals(matrix, classifier.array(classifier.targets().get(0)).toFloatArray());
        DirectMemory.of(classifier.array("head.weight")).asFloatBuffer().put(weight);
        DirectMemory.of(classifier.array("head.bias")).asFloatBuffer().put(bias);
    }

    private static Batches.Batch batch() throws IOException {
        return new Batches(Dataset.load(settings).train(), settings).shuffled(1, 8, "test").get(0);
    }
}
