package org.speft;

import org.speft.internal.CapiConstants;

/** There is not enough memory on the host or on the device. */
public final class OutOfMemoryException extends SpeftException {
    private static final long serialVersionUID = 1;

    OutOfMemoryException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_OUT_OF_MEMORY, message, backend, nativeCode);
    }
}
