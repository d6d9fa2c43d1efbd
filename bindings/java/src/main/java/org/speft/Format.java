package org.speft;

import org.speft.internal.CapiConstants;

/** How exactly a file keeps an adapter. */
public enum Format {
    /** float32 deltas: a reload is identical. */
    EXACT(CapiConstants.SPEFT_FORMAT_EXACT),

    /** bfloat16 deltas: 2 bytes a weight less. */
    COMPACT(CapiConstants.SPEFT_FORMAT_COMPACT);

    final int code;

    Format(int code) {
        this.code = code;
    }
}
