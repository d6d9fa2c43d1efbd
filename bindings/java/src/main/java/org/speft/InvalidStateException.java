package org.speft;

import org.speft.internal.CapiConstants;

/** The call comes at the wrong time: a step before the selection, say. (After {@code close()} it is a plain
 * {@link IllegalStateException}.) */
public final class InvalidStateException extends SpeftException {
    private static final long serialVersionUID = 1;

    InvalidStateException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_INVALID_STATE, message, backend, nativeCode);
    }
}
