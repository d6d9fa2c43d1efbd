/* Adapters on disk: safetensors files with our metadata, described in docs/file-format.md.
 *
 * Any safetensors reader can open them. They are written to a temporary name beside the target, synced and renamed:
 * a crash leaves the old file or the new one. Readers treat their input as hostile: CORRUPT, with the reason. */
#ifndef SPEFT_STORAGE_H
#define SPEFT_STORAGE_H

#include <stdint.h>

#include "adapter.h"
#include "context.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* `speft_save_options.format` */
enum {
    /* float32 deltas: a reload is identical. */
    SPEFT_FORMAT_EXACT = 0,
    /* bfloat16 deltas. UNSUPPORTED in this version. */
    SPEFT_FORMAT_COMPACT = 1
};

/* Takes the file's bytes in order; returns 0, or an errno. For hosts without files. UNSUPPORTED in this version. */
typedef struct speft_writer {
    uint32_t struct_size;
    void *user;
    int32_t (*write)(void *user, const void *bytes, uint64_t count);
} speft_writer;

/* How a file is written; `writer` and `progress` may be NULL. */
typedef struct speft_save_options {
    uint32_t struct_size;
    int32_t format;
    const speft_writer *writer;
    const speft_progress *progress;
} speft_save_options;

SPEFT_API void speft_save_options_init(speft_save_options *options, uint32_t size);

/* Masks, deltas, names, shapes, options and the base's hash; not the optimizer's state. `path` is UTF-8; `options` may
 * be NULL. INVALID_STATE before the selection. IO with errno when it cannot be written: the old file is untouched. */
SPEFT_API speft_status speft_save_adapter(speft_adapter *adapter, const speft_save_options *options,
                                          const char *path, speft_error **error);

/* How a file is read; `progress` may be NULL. */
typedef struct speft_load_options {
    uint32_t struct_size;
    int32_t reserved;
    const speft_progress *progress;
} speft_load_options;

SPEFT_API void speft_load_options_init(speft_load_options *options, uint32_t size);

/* A new adapter with the file's parameters, masks and deltas: selected, unmerged, not bound. Bind every parameter
 * (`speft_get_parameter` tells them), then `speft_merge`. It can be trained on: the optimizer starts afresh. `options`
 * may be NULL. IO when it cannot be read; CORRUPT when it is not such a file; UNSUPPORTED when it is of a later
 * format. */
SPEFT_API speft_status speft_load_adapter(speft_context *context, const speft_load_options *options,
                                          const char *path, speft_adapter **adapter, speft_error **error);

/* The adapter and the optimizer's state, to resume as if never stopped. UNSUPPORTED in this version. */
SPEFT_API speft_status speft_save_checkpoint(speft_adapter *adapter, const speft_save_options *options,
                                             const char *path, speft_error **error);
SPEFT_API speft_status speft_load_checkpoint(speft_context *context, const speft_load_options *options,
                                             const char *path, speft_adapter **adapter, speft_error **error);

SPEFT_END_DECLS

#endif
