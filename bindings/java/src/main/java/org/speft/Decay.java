package org.speft;

import org.speft.internal.CapiConstants;

/** What weight decay pulls to. */
public enum Decay {
    /** The delta to 0, and so the weight to its pretrained value. */
    ORIGINAL(CapiConstants.SPEFT_DECAY_TO_ORIGINAL),

    /** The weight itself to 0, as PyTorch's optimizers do. */
    ZERO(CapiConstants.SPEFT_DECAY_TO_ZERO),

    /** The delta to 0, decoupled and after the update, as SpIEL does; with any optimizer. */
    AFTER(CapiConstants.SPEFT_DECAY_AFTER_UPDATE);

    final int code;

    Decay(int code) {
        this.code = code;
    }
}
