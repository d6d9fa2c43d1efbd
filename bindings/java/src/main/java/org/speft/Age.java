package org.speft;

import org.speft.internal.CapiConstants;

/** How AdamW and Adam count the updates behind their moments. */
public enum Age {
    /** One count for each parameter. */
    COMMON(CapiConstants.SPEFT_AGE_COMMON),

    /** One for each weight; masks that move set it by themselves. */
    PER_WEIGHT(CapiConstants.SPEFT_AGE_PER_WEIGHT);

    final int code;

    Age(int code) {
        this.code = code;
    }
}
