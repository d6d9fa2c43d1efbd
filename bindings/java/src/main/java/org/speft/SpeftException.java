package org.speft;

import org.speft.internal.CapiConstants;

/**
 * A call of libspeft that failed; nothing was changed by it. There is a subclass for each status.
 *
 * <p>The message names the argument, what was expected and what came.
 */
public class SpeftException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The C library's status. */
    private final int status;

    /** Where it happened. */
    private final String backend;

    /** What is behind it. */
    private final long nativeCode;

    SpeftException(int status, String message, String backend, long nativeCode) {
        super(message);
        this.status = status;
        this.backend = backend;
        this.nativeCode = nativeCode;
    }

    /**
     * The C library's status, which is never renumbered.
     *
     * @return a number above 0
     */
    public int status() {
        return status;
    }

    /**
     * The backend in which it happened.
     *
     * @return {@code "cpu"}, say; {@code ""} when it happened above the backends
     */
    public String backend() {
        return backend;
    }

    /**
     * The {@code errno}, {@code cudaError_t} or the like behind it.
     *
     * @return 0 when there is none
     */
    public long nativeCode() {
        return nativeCode;
    }

    /** The exception of a status; one that a later version has added is a plain {@code SpeftException}. */
    static SpeftException of(int status, String message, String backend, long nativeCode) {
        return switch (status) {
            case CapiConstants.SPEFT_INVALID_ARGUMENT -> new InvalidArgumentException(message, backend, nativeCode);
            case CapiConstants.SPEFT_OUT_OF_MEMORY -> new OutOfMemoryException(message, backend, nativeCode);
            case CapiConstants.SPEFT_UNSUPPORTED -> new UnsupportedException(message, backend, nativeCode);
            case CapiConstants.SPEFT_UNAVAILABLE -> new UnavailableException(message, backend, nativeCode);
            case CapiConstants.SPEFT_INVALID_STATE -> new InvalidStateException(message, backend, nativeCode);
            case CapiConstants.SPEFT_BUSY -> new BusyException(message, backend, nativeCode);
            case CapiConstants.SPEFT_IO -> new IOFailureException(message, backend, nativeCode);
            case CapiConstants.SPEFT_CORRUPT -> new CorruptException(message, backend, nativeCode);
            case CapiConstants.SPEFT_DEVICE -> new DeviceFailureException(message, backend, nativeCode);
            case CapiConstants.SPEFT_CANCELLED -> new CancelledException(message, backend, nativeCode);
            case CapiConstants.SPEFT_INTERNAL -> new InternalException(message, backend, nativeCode);
            default -> new SpeftException(status, message, backend, nativeCode);
        };
    }
}
