package org.speft;

import org.speft.internal.CapiConstants;

/** A {@link Progress} asked to stop. */
public final class CancelledException extends SpeftException {
    private static final long serialVersionUID = 1;

    CancelledException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_CANCELLED, message, backend, nativeCode);
    }
}
