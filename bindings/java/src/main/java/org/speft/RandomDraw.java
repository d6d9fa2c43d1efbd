package org.speft;

import org.speft.internal.CapiConstants;

/** How random masks are drawn. */
public enum RandomDraw {
    /** Exactly k of N, without replacement. */
    EXACT(CapiConstants.SPEFT_RANDOM_EXACT),

    /** Each scalar by itself, so that their number varies. */
    BERNOULLI(CapiConstants.SPEFT_RANDOM_BERNOULLI);

    final int code;

    RandomDraw(int code) {
        this.code = code;
    }
}
