package org.speft;

import org.speft.internal.CapiConstants;

/** The operating system refused a read or a write; {@link #nativeCode()} is its {@code errno}. */
public final class IOFailureException extends SpeftException {
    private static final long serialVersionUID = 1;

    IOFailureException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_IO, message, backend, nativeCode);
    }
}
