package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Weights to codes and back, and adapters whose deltas are trained beside codes. */
class QuantizationTest {
    private static final int ROWS = 6;
    private static final int COLUMNS = 32;
    private static final int TOKENS = 3;
    private static final int BUDGET = 12;

    /** Sums of 33 products at most, in float32, whose sums stay below 32; those with W and with a delta apart. */
    private static final double TOLERANCE = 2 * 33 * Math.ulp(32f);

    private final Context context = Context.open("cpu");
    private final Tensor wide = Numbers.tensor(41, TOKENS, COLUMNS);
    private final Tensor narrow = Numbers.tensor(42, TOKENS, ROWS);

    /** [6, 32] in NF4, whose three scales are quantized themselves. */
    private final Quantized layer = new Quantized(Quantized.Kind.NF4, Tensor.allocate(DType.UINT8, 96),
            Tensor.allocate(DType.UINT8, 3), 64, null, Tensor.allocate(DType.FLOAT32, 1), null, 64,
            Tensor.allocate(DType.FLOAT32, 1));

    @BeforeEach
    void quantize() {
        float[] values = Numbers.floats(43, ROWS * COLUMNS);
        for (int i = 64; i < 128; ++i) values[i] /= 16; // scales that differ
        context.quantize(Tensor.copyOf(values, ROWS, COLUMNS), layer);
    }

    @AfterEach
    void close() {
        context.close();
    }

    private double[] dequantized() {
        Tensor values = Tensor.allocate(DType.FLOAT32, ROWS, COLUMNS);
        context.dequantize(layer, values);
        return LinearTest.widened(values.toFloats());
    }

    /** Of the layer, after one step. */
    private Adapter trained(Selection selection, double rate) {
        Adapter adapter = Adapter.builder(context).selection(selection).budget(BUDGET)
                .sparse("w", DType.FLOAT32, ROWS, COLUMNS).open();
        adapter.bindWeights(0, layer);
        adapter.select();
        adapter.accumulate(0, Gradient.dense(Numbers.tensor(44, ROWS, COLUMNS)));
        adapter.step(new Hyperparameters().lr(rate));
        return adapter;
    }

    private static double[] plusDeltas(double[] base, Adapter adapter) {
        double[] sum = base.clone();
        long[] mask = adapter.mask(0);
        float[] deltas = adapter.deltas(0);
        for (int i = 0; i < mask.length; ++i) sum[(int) mask[i]] += deltas[i];
        return sum;
    }

    private static double[] product(Tensor x, double[] weight, boolean transposed) {
        return LinearTest.product(x.toFloats(), weight, ROWS, COLUMNS, transposed);
    }

    private static void assertRefused(Class<? extends SpeftException> type, String words, Executable call) {
        String message = assertThrows(type, call).getMessage();
        assertTrue(message.contains(words), message);
    }

    @Test
    void a_layer_of_codes_multiplies() {
        double[] base = dequantized();
        Tensor y = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        Tensor dx = Tensor.allocate(DType.FLOAT32, TOKENS, COLUMNS);
        context.quantizedForward(layer, wide, y);
        context.quantizedBackward(layer, narrow, dx);
        LinearTest.assertClose(product(wide, base, true), y, TOLERANCE);
        LinearTest.assertClose(product(narrow, base, false), dx, TOLERANCE);
        // What lies [in, out] goes forward as the other goes backward.
        LinearOptions options = new LinearOptions().layout(Layout.IN_OUT).accumulate(true);
        context.quantizedForward(layer, options, narrow, dx);
        context.quantizedBackward(layer, options, wide, y);
        LinearTest.assertClose(Arrays.stream(product(wide, base, true)).map(sum -> 2 * sum).toArray(), y,
                2 * TOLERANCE);
        LinearTest.assertClose(Arrays.stream(product(narrow, base, false)).map(sum -> 2 * sum).toArray(), dx,
                2 * TOLERANCE);
        assertRefused(InvalidArgumentException.class, "delta_only",
                () -> context.quantizedForward(layer, options.deltaOnly(true), narrow, dx));
        assertRefused(InvalidArgumentException.class, "got 3 and 2",
                () -> context.quantizedBackward(layer, narrow, Tensor.allocate(DType.FLOAT32, 2, COLUMNS)));
    }

    @Test
    void deltas_are_trained_beside_codes() {
        double[] base = dequantized();
        try (Adapter adapter = trained(Selection.MAGNITUDE, 0.5)) {
            assertArrayEquals(base, dequantized());
            double[] trained = plusDeltas(base, adapter);
            Tensor y = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
            Tensor dx = Tensor.allocate(DType.FLOAT32, TOKENS, COLUMNS);
            adapter.linearForward(0, wide, y);
            adapter.linearBackward(0, narrow, dx);
            LinearTest.assertClose(product(wide, trained, true), y, TOLERANCE);
            LinearTest.assertClose(product(narrow, trained, false), dx, TOLERANCE);
            assertRefused(InvalidStateException.class, "speft_merge", adapter::measureRequantization);

            adapter.merge();
            double[] merged = dequantized();
            double errors = 0;
            double squares = 0;
            for (int i = 0; i < merged.length; ++i) {
                int block = i / 64;
                if (Arrays.stream(adapter.mask(0)).noneMatch(index -> index / 64 == block)) continue;
                errors += Math.pow(merged[i] - trained[i], 2);
                squares += Math.pow(trained[i], 2);
            }
            Requantization done = adapter.measureRequantization(0);
            assertEquals(BUDGET, done.deltas());
            assertTrue(0 < done.changed() && done.changed() <= BUDGET, done.toString());
            // The library's w is rounded to float32.
            assertEquals(Math.sqrt(errors / squares), done.relativeError(), 1e-6);
            assertEquals(done, adapter.measureRequantization());
            assertRefused(InvalidStateException.class, "in the weights", () -> adapter.linearForward(0, wide, y));
            adapter.unmerge();
            assertArrayEquals(base, dequantized());
        }
    }

    @Test
    void each_row_has_its_adapter() {
        double[] base = dequantized();
        Tensor y = Tensor.allocate(DType.FLOAT32, TOKENS, ROWS);
        long[] choice = {1, -1, 0};
        Adapter second = trained(Selection.RANDOM, 0.25); // closed below, as a part of the test
        try (Adapter first = trained(Selection.MAGNITUDE, 0.5)) {
            List<Served> both = List.of(new Served(first, 0), new Served(second, 0));
            Adapter.linearForwardEach(both, wide, choice, y);
            double[][] weights = {plusDeltas(base, second), base, plusDeltas(base, first)};
            double[] expected = new double[TOKENS * ROWS];
            for (int token = 0; token < TOKENS; ++token) {
                System.arraycopy(product(wide, weights[token], true), token * ROWS, expected, token * ROWS, ROWS);
            }
            LinearTest.assertClose(expected, y, TOLERANCE);
            Adapter.linearForwardEach(both, new LinearOptions().accumulate(true), wide, choice, y);
            LinearTest.assertClose(Arrays.stream(expected).map(sum -> 2 * sum).toArray(), y, 2 * TOLERANCE);

            float[] before = y.toFloats();
            assertRefused(InvalidArgumentException.class, "count must be 1",
                    () -> Adapter.linearForwardEach(List.of(), wide, choice, y));
            assertRefused(InvalidArgumentException.class, "between -1 and 0; got 1 for row 0",
                    () -> Adapter.linearForwardEach(both.subList(0, 1), wide, choice, y));
            assertRefused(InvalidArgumentException.class, "choice must have 3",
                    () -> Adapter.linearForwardEach(both, wide, new long[2], y));
            assertRefused(InvalidArgumentException.class, "parameter",
                    () -> Adapter.linearForwardEach(List.of(new Served(first, 1)), wide, choice, y));
            assertRefused(InvalidArgumentException.class, "adapter", () -> new Served(null, 0));
            second.unbindWeights(0);
            assertRefused(InvalidStateException.class, "not bound",
                    () -> Adapter.linearForwardEach(both, wide, choice, y));
            second.close();
            assertThrows(IllegalStateException.class, () -> Adapter.linearForwardEach(both, wide, choice, y));
            assertArrayEquals(before, y.toFloats());
        }
    }

    @Test
    void bindings_that_do_not_fit_are_refused() {
        try (Adapter adapter = trained(Selection.MAGNITUDE, 0.5)) {
            assertRefused(InvalidStateException.class, "'w' was bound to quantized",
                    () -> adapter.bindWeights(0, Tensor.allocate(DType.FLOAT32, ROWS, COLUMNS)));
            ByteBuffer memory = layer.codes().bytes().asReadOnlyBuffer().order(ByteOrder.nativeOrder());
            Tensor readOnly = Tensor.of(DType.UINT8, memory, 96);
            assertRefused(InvalidArgumentException.class, "codes must be writable", () -> adapter.bindWeights(0,
                    new Quantized(Quantized.Kind.NF4, readOnly, Tensor.allocate(DType.FLOAT32, 3), 64)));
            layer.absmaxAbsmax().floats().put(0, -1);
            assertRefused(InvalidArgumentException.class, "absmax_absmax", () -> adapter.bindWeights(0, layer));
            assertRefused(InvalidArgumentException.class, "parameter", () -> adapter.measureRequantization(1));
        }
    }

    private static Tensor makeWeights() {
        float[] weights = new float[96];
        for (int i = 0; i < weights.length; ++i) weights[i] = (float) Math.sin(i);
        return Tensor.copyOf(weights, 12, 8);
    }

    @ParameterizedTest
    @EnumSource
    void weights_come_back_from_their_codes(Quantized.Kind kind) {
        boolean whole = kind == Quantized.Kind.INT8;
        Tensor codes = whole ? Tensor.allocate(DType.INT8, 12, 8) : Tensor.allocate(DType.UINT8, 48);
        Tensor scales = Tensor.allocate(DType.FLOAT32, whole ? 12 : 2);
        check(new Quantized(kind, codes, scales, whole ? 0 : 64));
    }

    @Test
    void scales_can_be_quantized_too() {
        Tensor codes = Tensor.allocate(DType.UINT8, 48);
        Tensor offset = Tensor.allocate(DType.FLOAT32, 1);
        check(new Quantized(Quantized.Kind.NF4, codes, Tensor.allocate(DType.UINT8, 2), 64, null,
                Tensor.allocate(DType.FLOAT32, 1), null, 256, offset));
        assertTrue(offset.floats().get(0) > 0.9f);
    }

    private static void check(Quantized quantized) {
        Tensor weights = makeWeights();
        Tensor after = Tensor.allocate(DType.FLOAT32, 12, 8);
        try (Context context = Context.open("cpu")) {
            context.quantize(weights, quantized);
            context.dequantize(quantized, after);
        }
        // Half of the widest step between levels, 1/3 of a scale of at most 1, and what 8 bits take from the scale.
        for (int i = 0; i < 96; ++i) assertEquals(weights.floats().get(i), after.floats().get(i), 0.175f);
    }

    @Test
    void what_does_not_fit_is_refused() {
        Tensor codes = Tensor.allocate(DType.UINT8, 47);
        Quantized quantized = new Quantized(Quantized.Kind.NF4, codes, Tensor.allocate(DType.FLOAT32, 2), 64);
        try (Context context = Context.open("cpu")) {
            InvalidArgumentException failure =
                    assertThrows(InvalidArgumentException.class, () -> context.quantize(makeWeights(), quantized));
            assertTrue(failure.getMessage().contains("must have 48"), failure.getMessage());
        }
    }
}
