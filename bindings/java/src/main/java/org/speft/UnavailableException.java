package org.speft;

import org.speft.internal.CapiConstants;

/** A backend, a device or the native library itself is not there. The message has every attempt and its reason. */
public final class UnavailableException extends SpeftException {
    private static final long serialVersionUID = 1;

    UnavailableException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_UNAVAILABLE, message, backend, nativeCode);
    }

    UnavailableException(String message, Throwable cause) {
        this(message, "", 0);
        initCause(cause);
    }
}
