package org.speft;

import org.speft.internal.CapiConstants;

/** How important a message is. */
public enum LogLevel {
    /** For developers of libspeft. */
    DEBUG(CapiConstants.SPEFT_LOG_DEBUG),

    /** What happens. */
    INFO(CapiConstants.SPEFT_LOG_INFO),

    /** What a user should know. */
    WARNING(CapiConstants.SPEFT_LOG_WARNING);

    final int code;

    LogLevel(int code) {
        this.code = code;
    }

    static LogLevel of(int code) {
        for (LogLevel value : values()) if (value.code == code) return value;
        throw new AssertionError("libspeft knows a LogLevel that this package does not: " + code);
    }
}
