package org.speft;

import org.speft.internal.CapiConstants;

/** What mean of gradients {@link Selection#GRADIENT} and {@link Selection#SNIP} take. */
public enum Mean {
    /** Of signed gradients, the absolute value after it. */
    SIGNED(CapiConstants.SPEFT_MEAN_SIGNED),

    /** Of absolute gradients. */
    ABSOLUTE(CapiConstants.SPEFT_MEAN_OF_ABSOLUTES);

    final int code;

    Mean(int code) {
        this.code = code;
    }
}
