package org.speft;

import org.speft.internal.CapiConstants;

/** A file is damaged or is not what it says. */
public final class CorruptException extends SpeftException {
    private static final long serialVersionUID = 1;

    CorruptException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_CORRUPT, message, backend, nativeCode);
    }
}
