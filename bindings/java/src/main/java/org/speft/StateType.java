package org.speft;

import org.speft.internal.CapiConstants;

/** How moments and velocities are kept. */
public enum StateType {
    /** 4 bytes each. */
    FLOAT32(CapiConstants.SPEFT_STATE_FLOAT32),

    /** 2 bytes each, rounded stochastically. */
    BFLOAT16(CapiConstants.SPEFT_STATE_BFLOAT16),

    /** A byte each, with a scale for every 64. */
    BLOCKS8(CapiConstants.SPEFT_STATE_BLOCKS8);

    final int code;

    StateType(int code) {
        this.code = code;
    }
}
