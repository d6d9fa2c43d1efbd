package org.speft;

import org.speft.internal.CapiConstants;

/** The device failed; the context can no longer be used. */
public final class DeviceFailureException extends SpeftException {
    private static final long serialVersionUID = 1;

    DeviceFailureException(String message, String backend, long nativeCode) {
        super(CapiConstants.SPEFT_DEVICE, message, backend, nativeCode);
    }
}
