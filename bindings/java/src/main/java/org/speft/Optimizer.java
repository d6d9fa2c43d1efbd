package org.speft;

import org.speft.internal.CapiConstants;

/** How the selected scalars move; the C header {@code optimizer.h} has the formulas. */
public enum Optimizer {
    /** AdamW. */
    ADAMW(CapiConstants.SPEFT_OPTIMIZER_ADAMW),

    /** SGD, with momentum if asked for. */
    SGD(CapiConstants.SPEFT_OPTIMIZER_SGD),

    /** SM3-I: second moments by rows and columns. */
    SM3(CapiConstants.SPEFT_OPTIMIZER_SM3),

    /** Lion. */
    LION(CapiConstants.SPEFT_OPTIMIZER_LION),

    /** Adafactor, with a learning rate of the host's. */
    ADAFACTOR(CapiConstants.SPEFT_OPTIMIZER_ADAFACTOR),

    /** Adam: weight decay is added to the gradient. */
    ADAM(CapiConstants.SPEFT_OPTIMIZER_ADAM);

    final int code;

    Optimizer(int code) {
        this.code = code;
    }
}
