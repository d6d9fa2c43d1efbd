/* A context: one device, one stream, its threads, its allocator, its log. Adapters live in one.
 *
 * Threads: a context and its adapters are one thing. Calls on them may come from any thread, one at a time; a call
 * that meets another returns BUSY and does nothing. Different contexts run side by side. Destroying is legal from
 * any thread at any time: it drops a reference, honoured when the running call ends.
 *
 * Callbacks run on the thread of the call that needs them. They must return: no exception, no longjmp. */
#ifndef SPEFT_CONTEXT_H
#define SPEFT_CONTEXT_H

#include <stdint.h>

#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

typedef struct speft_context speft_context;

/* Device memory from the host's own pool. `allocate` returns NULL when there is none; `stream` is the context's.
 * Both may be called from any thread that calls into the context. They must not call into libspeft (BUSY). */
typedef struct speft_allocator {
    uint32_t struct_size;
    void *user;
    void *(*allocate)(void *user, uint64_t bytes, uint64_t alignment, void *stream);
    void (*deallocate)(void *user, void *memory, uint64_t bytes, void *stream);
    /* Called once, from any thread, when none of the others will be called again; may be NULL. */
    void (*release)(void *user);
} speft_allocator;

/* `level` of a message. */
enum { SPEFT_LOG_DEBUG = 0, SPEFT_LOG_INFO = 1, SPEFT_LOG_WARNING = 2 };

/* libspeft never prints. `message` is one line of UTF-8, valid during the call. */
typedef struct speft_logger {
    uint32_t struct_size;
    int32_t level; /* messages below it are not formatted */
    void *user;
    void (*log)(void *user, int32_t level, const char *message);
    /* Called once, from any thread, when none of the others will be called again; may be NULL. */
    void (*release)(void *user);
} speft_logger;

/* The host's own threads: calls body(argument, i) once for each i in [0, count), side by side or not, and returns
 * when all are done. */
typedef struct speft_parallel_for {
    uint32_t struct_size;
    int32_t threads; /* how many bodies may run at once */
    void *user;
    void (*run)(void *user, int64_t count, void (*body)(void *argument, int64_t index), void *argument);
    /* Called once, from any thread, when none of the others will be called again; may be NULL. */
    void (*release)(void *user);
} speft_parallel_for;

/* Long work calls it now and then; anything but 0 cancels. `done` and `total` are in units of the work. */
typedef struct speft_progress {
    uint32_t struct_size;
    void *user;
    int32_t (*report)(void *user, int64_t done, int64_t total);
} speft_progress;

typedef struct speft_context_options {
    uint32_t struct_size;
    /* CPU threads; 0: as many as this process may run on. Answers do not depend on it. */
    int32_t threads;
    /* "cpu", "cuda", or NULL or "auto": the one with the highest score on this machine. */
    const char *backend;
    /* Which device of the backend, from 0. */
    int32_t device;
    /* The CUDA stream; NULL for the default one. Anything but NULL is UNSUPPORTED on the CPU. */
    void *stream;
    /* Copied; what their `user` points to is used until `release`. May be NULL. When the creation of the context fails
     * nothing is released. */
    const speft_allocator *allocator;
    const speft_logger *logger;
    const speft_parallel_for *parallel_for;
    /* A folder to look for backends in, before SPEFT_BACKEND_PATH and the folder of libspeft itself. */
    const char *backend_path;
} speft_context_options;

/* Fills in the defaults; `size` is the caller's sizeof. Takes NULL. Any thread. */
SPEFT_API void speft_context_options_init(speft_context_options *options, uint32_t size);

/* `options` may be NULL. On success `*context` is owned by the caller. UNAVAILABLE when no backend of that name can
 * run here; the message then has every folder that was searched, and the reason of every attempt. */
SPEFT_API speft_status speft_create_context(const speft_context_options *options, speft_context **context,
                                            speft_error **error);

/* Takes NULL. Adapters keep what they need alive. */
SPEFT_API void speft_destroy_context(speft_context *context);

/* Waits until all that was enqueued on the context has run. At once on the CPU. */
SPEFT_API speft_status speft_synchronize(speft_context *context, speft_error **error);

/* From now on work is enqueued on `stream`, after what was enqueued before: the former stream must still exist now, and
 * the new one until it is replaced or the context is gone. On the CPU anything but NULL is UNSUPPORTED. */
SPEFT_API speft_status speft_set_stream(speft_context *context, void *stream, speft_error **error);

/* The name of the context's backend. Lives as long as the context. NULL for NULL. */
SPEFT_API const char *speft_get_context_backend(const speft_context *context);

/* ---- which backends there are ---- */

typedef struct speft_backend_info {
    uint32_t struct_size;
    /* 1 when a context can be created on it. */
    int32_t available;
    /* "cpu", "cuda". Static storage, as the other strings. */
    const char *name;
    /* Its version, or "" when it could not be loaded. */
    const char *version;
    /* Why it is not available, in one sentence; "" when it is. */
    const char *reason;
    /* Given by the caller: a folder to look in first, as in speft_context_options; may be NULL. */
    const char *backend_path;
} speft_backend_info;

/* How many backends this release knows of, present or not. */
SPEFT_API int32_t speft_count_backends(void);

/* Loads backend `index` in [0, speft_count_backends()) if it was not loaded yet, and tells what became of it.
 * `info->struct_size` is set by the caller, and `info->backend_path`, to NULL where there is none. */
SPEFT_API speft_status speft_describe_backend(int32_t index, speft_backend_info *info, speft_error **error);

/* ---- which code runs ----
 * Each operation of a backend has an ordered list of implementations; the first that accepts a case runs it. */

/* The implementation that ran `operation` last in this context, "reference" say; NULL in `*name` when it has not
 * run. `operation` is one of the names that `speft_get_operation_name` lists. `*name` is static. */
SPEFT_API speft_status speft_get_implementation(speft_context *context, const char *operation, const char **name,
                                                speft_error **error);

/* Runs `operation` with this implementation only, from now on in this context; NULL: choose again. A case that it
 * does not accept then returns UNSUPPORTED. */
SPEFT_API speft_status speft_set_implementation(speft_context *context, const char *operation, const char *name,
                                                speft_error **error);

/* The name of operation `index`, from 0; NULL past the last. Static storage. Any thread. */
SPEFT_API const char *speft_get_operation_name(int32_t index);

/* The implementation `index`, from 0 (the fastest), of `operation` on the context's backend; NULL in `*name` past
 * the last. `*name` is static. */
SPEFT_API speft_status speft_get_implementation_name(speft_context *context, const char *operation, int32_t index,
                                                     const char **name, speft_error **error);

SPEFT_END_DECLS

#endif
