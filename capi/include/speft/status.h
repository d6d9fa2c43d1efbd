/* The status that every fallible call returns.
 *
 * The numbers are part of the ABI and are never reused. A caller should treat a number that it does not know as
 * a failure: later versions may add some. */
#ifndef SPEFT_STATUS_H
#define SPEFT_STATUS_H

#include <stdint.h>

#include "export.h"

SPEFT_BEGIN_DECLS

typedef int32_t speft_status;

enum {
    SPEFT_OK = 0,
    /* An argument has a wrong value, shape, type or device. The message names it, with expected and actual. */
    SPEFT_INVALID_ARGUMENT = 1,
    SPEFT_OUT_OF_MEMORY = 2,
    /* The request is well formed, but this version or this backend has no code for it. */
    SPEFT_UNSUPPORTED = 3,
    /* A backend, device or driver is not there. */
    SPEFT_UNAVAILABLE = 4,
    /* The call comes at the wrong time: a step before the selection, say. */
    SPEFT_INVALID_STATE = 5,
    /* Another call runs on the same context (or this is a call from inside a callback). Nothing was done. */
    SPEFT_BUSY = 6,
    /* The operating system refused a read or a write. `speft_get_error_native_code` is its errno. */
    SPEFT_IO = 7,
    /* A file is damaged or is not what it says. */
    SPEFT_CORRUPT = 8,
    /* The device failed; the context can no longer be used. */
    SPEFT_DEVICE = 9,
    /* A callback asked to stop. */
    SPEFT_CANCELLED = 10,
    /* A defect of libspeft. Please report the message. */
    SPEFT_INTERNAL = 11
};

/* The constant's name without its prefix, as "INVALID_ARGUMENT"; "UNKNOWN" for any other number. Static storage.
 * Any thread. */
SPEFT_API const char *speft_get_status_name(speft_status status);

SPEFT_END_DECLS

#endif
