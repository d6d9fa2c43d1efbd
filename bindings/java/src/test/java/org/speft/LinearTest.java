package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Linear layers whose deltas are applied on the fly, of an adapter that is unmerged. */
class LinearTest {
    private static final int ROWS = 4;
    private static final int COLUMNS = 6;
    private static final int TOKENS = 3;

    /** Sums of 6 weights and as many deltas, in float32 and in any order, of values whose sums stay below 8. */
    private static final double TOLERANCE = 12 * Math.ulp(8f);

    private final Tensor wide = Numbers.tensor(31, TOKENS, COLUMNS);
    private final Tensor narrow = Numbers.tensor(32, TOKENS, ROWS);
    private Scene scene;
    private Adapter adapter;
    private float[] original;
    private float[] trained;

    @BeforeEach
    void train() {
        scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(7)).selected();
        adapter = scene.adapter;
        adapter.unmerge();
        original = scene.weights[0].toFloats();
        adapter.merge();
        for (int step = 0; step < 3; ++step) {
            scene.accumulate();
            adapter.step(new Hyperparameters().lr(0.1));
        }
        trained = scene.weights[0].toFloats();
        adapter.unmerge();
    }

    @AfterEach
    void close() {
        scene.close();
    }

    /** x Wᵀ, or x W. */
    static double[] product(float[] x, double[] weight, int rows, int columns, boolean transposed) {
        int from = transposed ? columns : rows;
        int to = transposed ? rows : columns;
        double[] y = new double[x.length / from * to];
        for (int i = 0; i < y.length; ++i) {
            for (int k = 0; k < from; ++k) {
                y[i] += x[i / to * from + k] * weight[transposed ? i % to * columns + k : k * columns + i % to];
            }
        }
        return y;
    }

    static double[] widened(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < values.length; ++i) wide[i] = values[i];
        return wide;
    }

    static void assertClose(double[] expected, Tensor actual, double tolerance) {
        float[] values = actual.toFloats();
        assertEquals(expected.length, values.length);
        for (int i = 0; i < values.length; ++i) assertEquals(expected[i], values[i], tolerance);
    }

    private static void assertRefused(Class<? extends SpeftException> type, String words, Executable call) {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(words), message);
    }

    @Test
    void computes_with_the_weights_as_trained() {
        Tensor y = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        adapter.linearForward(0, wide, y);
        assertClose(product(wide.toFloats(), widened(trained), ROWS, COLUMNS, true), y, TOLERANCE);
        Tensor dx = Tensor.allocate(DType.FLOAT32, TOKENS, COLUMNS);
        adapter.linearBackward(0, narrow, dx);
        assertClose(product(narrow.toFloats(), widened(trained), ROWS, COLUMNS, false), dx, TOLERANCE);
        assertArrayEquals(original, scene.weights[0].toFloats());
    }

    @Test
    void a_weight_that_lies_the_other_way_exchanges_the_directions() {
        LinearOptions turned = new LinearOptions().layout(Layout.IN_OUT);
        Tensor expected = Tensor.allocate(DType.FLOAT32, TOKENS, COLUMNS);
        Tensor actual = Tensor.allocate(DType.FLOAT32, TOKENS, COLUMNS);
        adapter.linearBackward(0, narrow, expected);
        adapter.linearForward(0, turned, narrow, actual);
        assertArrayEquals(expected.toFloats(), actual.toFloats());
        expected = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        actual = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        adapter.linearForward(0, wide, expected);
        adapter.linearBackward(0, turned, wide, actual);
        assertArrayEquals(expected.toFloats(), actual.toFloats());
    }

    @Test
    void the_delta_alone_is_added_to_a_product_of_the_hosts() {
        double[] delta = new double[original.length];
        for (int i = 0; i < delta.length; ++i) delta[i] = (double) trained[i] - original[i];
        double[] expected = product(wide.toFloats(), delta, ROWS, COLUMNS, true);
        LinearOptions alone = new LinearOptions().deltaOnly(true);
        Tensor y = Tensor.copyOf(filled(Float.NaN), TOKENS, ROWS); // never read
        adapter.linearForward(0, alone, wide, y);
        assertClose(expected, y, TOLERANCE);

        y = Tensor.copyOf(filled(2), TOKENS, ROWS);
        adapter.linearForward(0, alone.accumulate(true), wide, y);
        for (int i = 0; i < expected.length; ++i) expected[i] += 2;
        assertClose(expected, y, TOLERANCE);

        adapter.unbindWeights(0); // it is not read
        adapter.linearForward(0, alone, wide, y);
        assertRefused(InvalidStateException.class, "not bound", () -> adapter.linearForward(0, wide, narrow));
    }

    private static float[] filled(float value) {
        float[] values = new float[TOKENS * ROWS];
        Arrays.fill(values, value);
        return values;
    }

    @Test
    void tensors_of_16_bits_are_taken() {
        Tensor half = Numbers.bfloat16(31, TOKENS, COLUMNS);
        Tensor y = Tensor.allocate(DType.BFLOAT16, TOKENS, ROWS);
        adapter.linearForward(0, half, y);
        // Rounded once, to 8 bits of a value below 4.
        assertClose(product(half.toFloats(), widened(trained), ROWS, COLUMNS, true), y, TOLERANCE + 4 / 256.0);
        adapter.linearForward(0, Tensor.allocate(DType.FLOAT32, 0, COLUMNS), Tensor.allocate(DType.FLOAT32, 0, ROWS));
    }

    @Test
    void there_is_none_where_the_delta_is_in_the_weights() {
        adapter.attach();
        assertRefused(InvalidStateException.class, "is in the weights", () -> adapter.linearForward(0, wide, narrow));
        assertRefused(InvalidStateException.class, "is in the weights", () -> adapter.linearBackward(0, narrow, wide));
        adapter.unmerge();
        adapter.linearForward(0, wide, narrow);
        try (Scene before = new Scene(Selection.MAGNITUDE, builder -> builder.budget(7))) {
            assertRefused(InvalidStateException.class, "speft_select",
                    () -> before.adapter.linearForward(0, wide, narrow));
        }
    }

    @Test
    void an_adapter_from_a_file_has_to_know_its_base() {
        byte[] content = adapter.toBytes(Format.EXACT);
        Tensor expected = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        adapter.linearForward(0, wide, expected);
        try (Adapter loaded = Adapter.load(scene.context, ByteBuffer.wrap(content), null)) {
            for (int i = 0; i < 3; ++i) loaded.bindWeights(i, scene.weights[i]);
            assertRefused(InvalidStateException.class, "speft_merge", () -> loaded.linearForward(0, wide, narrow));
            loaded.linearForward(0, new LinearOptions().deltaOnly(true), wide, narrow);
            loaded.merge();
            loaded.unmerge();
            loaded.linearForward(0, wide, narrow);
            assertArrayEquals(expected.toFloats(), narrow.toFloats());
        }
    }

    @Test
    void refuses_by_name_and_writes_nothing() {
        float[] before = narrow.toFloats();
        assertRefused(InvalidArgumentException.class, "inputs of 'query.weight' must have shape [3, 6]; got [3, 4]",
                () -> adapter.linearForward(0, Numbers.tensor(1, TOKENS, ROWS), narrow));
        assertRefused(InvalidArgumentException.class, "outputs of 'query.weight' must have shape [2, 4]; got [3, 4]",
                () -> adapter.linearForward(0, Numbers.tensor(1, 2, COLUMNS), narrow));
        assertRefused(InvalidArgumentException.class, "int64",
                () -> adapter.linearForward(0, Tensor.allocate(DType.INT64, TOKENS, COLUMNS), narrow));
        assertRefused(InvalidArgumentException.class, "contiguous",
                () -> adapter.linearForward(0, wide.strides(1, TOKENS), narrow));
        assertRefused(InvalidArgumentException.class, "dense parameter", () -> adapter.linearForward(2, wide, narrow));
        assertRefused(InvalidArgumentException.class, "parameter", () -> adapter.linearForward(3, wide, narrow));
        assertRefused(InvalidArgumentException.class, "x must not be", () -> adapter.linearForward(0, null, narrow));
        assertRefused(InvalidArgumentException.class, "y must not be null", () -> adapter.linearForward(0, wide, null));
        assertRefused(InvalidArgumentException.class, "dy must not be", () -> adapter.linearBackward(0, null, wide));
        assertRefused(InvalidArgumentException.class, "options must not be null",
                () -> adapter.linearForward(0, null, wide, narrow));
        assertRefused(InvalidArgumentException.class, "layout must not be null",
                () -> new LinearOptions().layout(null));
        assertArrayEquals(before, narrow.toFloats());
    }
}
