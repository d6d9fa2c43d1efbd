package org.speft;

import org.speft.internal.CapiConstants;

/** The request is well formed, but this version or this backend has no code for it. */
public final class UnsupportedException extends SpeftException {
    private static final long serialVersionUID = 1;

    UnsupportedException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_UNSUPPORTED, message, backend, nativeCode);
    }
}
