package org.speft;

import org.speft.internal.CapiConstants;

/** The element type of a tensor. */
public enum DType {
    /** 32 bits, in a {@link java.nio.FloatBuffer} or a {@link java.nio.ByteBuffer}. */
    FLOAT32(CapiConstants.SPEFT_CODE_FLOAT, 32),

    /** The upper 16 bits of a float32, in a {@link java.nio.ShortBuffer} or a {@link java.nio.ByteBuffer}. */
    BFLOAT16(CapiConstants.SPEFT_CODE_BFLOAT, 16),

    /** IEEE 754's 16 bits, in a {@link java.nio.ShortBuffer} or a {@link java.nio.ByteBuffer}. */
    FLOAT16(CapiConstants.SPEFT_CODE_FLOAT, 16),

    /** Indices, in a {@link java.nio.LongBuffer} or a {@link java.nio.ByteBuffer}. */
    INT64(CapiConstants.SPEFT_CODE_INT, 64),

    /** Codes of quantized weights, in a {@link java.nio.ByteBuffer}. */
    INT8(CapiConstants.SPEFT_CODE_INT, 8),

    /** Codes of quantized weights, in a {@link java.nio.ByteBuffer}. */
    UINT8(CapiConstants.SPEFT_CODE_UINT, 8);

    final int code;
    final int bits;

    DType(int code, int bits) {
        this.code = code;
        this.bits = bits;
    }

    /**
     * The size of one element.
     *
     * @return bytes
     */
    public int bytes() {
        return bits / 8;
    }

    static DType of(int code, int bits) {
        for (DType value : values()) if (value.code == code && value.bits == bits) return value;
        throw new AssertionError("libspeft lent an unknown element type: " + code + ", " + bits);
    }
}
