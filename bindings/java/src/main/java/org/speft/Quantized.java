package org.speft;

import org.speft.internal.CapiConstants;
import org.speft.internal.speft_quantization;
import org.speft.internal.speft_weights;

/**
 * A quantized base weight in bitsandbytes' layout. An adapter that is {@linkplain Adapter#bindWeights(int, Quantized)
 * bound} to it trains its deltas beside it.
 *
 * @param kind how the codes are to be read
 * @param codes uint8 [ceil(N / 2)], the first of two in the upper half of a byte; int8 in the shape of the weight
 * @param absmax float32 [ceil(N / block)], or uint8 when the scales are quantized themselves; of int8 float32 [rows]
 * @param block scalars that share one scale, a power of 2 between 32 and 4,096; of int8 0
 * @param levels float32, the value of each code; null for the kind's own table
 * @param absmaxAbsmax of the second quantization; null when there is none
 * @param absmaxLevels of the second quantization; null for bitsandbytes' dynamic map, or when there is none
 * @param absmaxBlock of the second quantization; 0 when there is none
 * @param absmaxOffset of the second quantization, of one element; null when there is none
 */
public record Quantized(Kind kind, Tensor codes, Tensor absmax, int block, Tensor levels, Tensor absmaxAbsmax,
        Tensor absmaxLevels, int absmaxBlock, Tensor absmaxOffset) {
    /** How codes are to be read. */
    public enum Kind {
        /** 4-bit NormalFloat. */
        NF4(CapiConstants.SPEFT_WEIGHTS_NF4),

        /** 4-bit floating point. */
        FP4(CapiConstants.SPEFT_WEIGHTS_FP4),

        /** int8 with a scale a row. */
        INT8(CapiConstants.SPEFT_WEIGHTS_INT8);

        final int code;

        Kind(int code) {
            this.code = code;
        }
    }

    /**
     * Checks what can be checked here.
     *
     * @param kind how the codes are to be read
     * @param codes uint8 or int8
     * @param absmax float32 [ceil(N / block)], or uint8 when the scales are quantized themselves
     * @param block scalars that share one scale
     * @param levels float32, the value of each code
     * @param absmaxAbsmax of the second quantization
     * @param absmaxLevels of the second quantization
     * @param absmaxBlock of the second quantization
     * @param absmaxOffset of the second quantization
     */
    public Quantized {
        Tensor.requireNonNull("kind", kind);
        Tensor.requireNonNull("codes", codes);
        Tensor.requireNonNull("absmax", absmax);
    }

    /**
     * Quantized once, with the kind's own table.
     *
     * @param kind how the codes are to be read
     * @param codes uint8 or int8
     * @param absmax float32 [ceil(N / block)]
     * @param block scalars that share one scale
     */
    public Quantized(Kind kind, Tensor codes, Tensor absmax, int block) {
        this(kind, codes, absmax, block, null, null, null, 0, null);
    }

    /** All that quantizing and merging write. */
    void requireWritable() {
        Arena.requireWritable("codes", codes);
        Arena.requireWritable("absmax", absmax);
        if (absmaxAbsmax != null) Arena.requireWritable("absmaxAbsmax", absmaxAbsmax);
        if (absmaxOffset != null) Arena.requireWritable("absmaxOffset", absmaxOffset);
    }

    speft_weights toNative(Arena arena) {
        speft_quantization quantization = arena.own(new speft_quantization());
        quantization.setBlock(block);
        quantization.setAbsmax(arena.view(absmax));
        quantization.setLevels(arena.view(levels));
        quantization.setAbsmax_absmax(arena.view(absmaxAbsmax));
        quantization.setAbsmax_levels(arena.view(absmaxLevels));
        quantization.setAbsmax_block(absmaxBlock);
        quantization.setAbsmax_offset(arena.view(absmaxOffset));
        speft_weights struct = arena.own(new speft_weights());
        struct.setKind(kind.code);
        struct.setData(arena.view(codes));
        struct.setQuantization(quantization);
        return struct;
    }
}
