package org.speft;

import org.speft.internal.CapiConstants;

/** How deltas are kept. */
public enum DeltaType {
    /** 4 bytes each. */
    FLOAT32(CapiConstants.SPEFT_DELTA_FLOAT32),

    /** 2 bytes each, rounded stochastically; those of dense parameters stay float32. */
    BFLOAT16(CapiConstants.SPEFT_DELTA_BFLOAT16);

    final int code;

    DeltaType(int code) {
        this.code = code;
    }
}
