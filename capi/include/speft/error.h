/* What went wrong, for the person who reads it.
 *
 * Every fallible call ends in `speft_error **error`. It may be NULL. Otherwise `*error` becomes NULL on success and
 * an owned object on failure, to be released with `speft_destroy_error`. There is no thread-local last error: the
 * object can travel to any thread. */
#ifndef SPEFT_ERROR_H
#define SPEFT_ERROR_H

#include <stdint.h>

#include "export.h"
#include "status.h"

SPEFT_BEGIN_DECLS

typedef struct speft_error speft_error;

/* The status that the failing call returned; SPEFT_OK for NULL. */
SPEFT_API speft_status speft_get_error_status(const speft_error *error);

/* UTF-8, one line: what was expected, what came, what to do. Lives as long as `error`; "" for NULL. */
SPEFT_API const char *speft_get_error_message(const speft_error *error);

/* The backend in which it happened ("cpu"), or "" when it happened above the backends. Lives as long as `error`. */
SPEFT_API const char *speft_get_error_backend(const speft_error *error);

/* The errno, cudaError_t or the like behind it; 0 when there is none. */
SPEFT_API int64_t speft_get_error_native_code(const speft_error *error);

/* Takes NULL. The out-of-memory error is static; destroying it is fine. Any thread. */
SPEFT_API void speft_destroy_error(speft_error *error);

SPEFT_END_DECLS

#endif
