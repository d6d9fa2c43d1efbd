package org.speft;

import java.util.SplittableRandom;

/** Numbers that are as good as any, and the same each time. */
final class Numbers {
    private Numbers() {}

    static float[] floats(long seed, int count) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; ++i) values[i] = (float) random.nextDouble(-1, 1);
        return values;
    }

    static Tensor tensor(long seed, long... shape) {
        return Tensor.copyOf(floats(seed, (int) Tensor.count(shape)), shape);
    }

    /** The same rounded to bfloat16, toward zero. */
    static Tensor bfloat16(long seed, long... shape) {
        Tensor tensor = Tensor.allocate(DType.BFLOAT16, shape);
        float[] values = floats(seed, (int) tensor.count());
        for (int i = 0; i < values.length; ++i) {
            tensor.shorts().put(i, (short) (Float.floatToRawIntBits(values[i]) >>> 16));
        }
        return tensor;
    }
}
