package org.speft;

import org.speft.internal.CapiConstants;

/** How the weight of a linear layer lies. */
public enum Layout {
    /** [out, in], y = x Wᵀ: PyTorch's and DJL's linear layers. */
    OUT_IN(CapiConstants.SPEFT_LAYOUT_OUT_IN),

    /** [in, out], y = x W. */
    IN_OUT(CapiConstants.SPEFT_LAYOUT_IN_OUT);

    final int code;

    Layout(int code) {
        this.code = code;
    }
}
