package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Weights to codes and back. */
class QuantizationTest {
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
