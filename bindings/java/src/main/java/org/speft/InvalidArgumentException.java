package org.speft;

import org.speft.internal.CapiConstants;

/** An argument has a wrong value, shape, type or byte order. The message has what was expected and what came. */
public final class InvalidArgumentException extends SpeftException {
    private static final long serialVersionUID = 1;

    InvalidArgumentException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_INVALID_ARGUMENT, message, backend, nativeCode);
    }

    InvalidArgumentException(String message) {
        this(message, "", 0);
    }
}
