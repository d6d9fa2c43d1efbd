package org.speft;

import org.speft.internal.CapiConstants;

/** Which scalars SpIEL drops. */
public enum Drop {
    /** Those of the least delta. */
    MAGNITUDE(CapiConstants.SPEFT_DROP_MAGNITUDE),

    /** Those whose delta has changed least since the last reselection. */
    CHANGE(CapiConstants.SPEFT_DROP_CHANGE);

    final int code;

    Drop(int code) {
        this.code = code;
    }
}
