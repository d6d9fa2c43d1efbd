package org.speft;

import org.speft.internal.CapiConstants;

/** Over what scalars are ranked. */
public enum Scope {
    /** One ranking over all sparse parameters. */
    GLOBAL(CapiConstants.SPEFT_SCOPE_GLOBAL),

    /** The same share of each parameter. */
    PER_TENSOR(CapiConstants.SPEFT_SCOPE_PER_TENSOR),

    /** The same share of each index of a parameter's first axis. */
    PER_ROW(CapiConstants.SPEFT_SCOPE_PER_ROW);

    final int code;

    Scope(int code) {
        this.code = code;
    }
}
