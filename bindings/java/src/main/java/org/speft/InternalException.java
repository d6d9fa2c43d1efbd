package org.speft;

import org.speft.internal.CapiConstants;

/** A defect of libspeft. Please report the message. */
public final class InternalException extends SpeftException {
    private static final long serialVersionUID = 1;

    InternalException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_INTERNAL, message, backend, nativeCode);
    }
}
