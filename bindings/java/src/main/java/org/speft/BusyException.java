package org.speft;

import org.speft.internal.CapiConstants;

/** Another call runs on the same context, or this one comes from inside a callback. Nothing was done. */
public final class BusyException extends SpeftException {
    private static final long serialVersionUID = 1;

    BusyException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_BUSY, message, backend, nativeCode);
    }
}
