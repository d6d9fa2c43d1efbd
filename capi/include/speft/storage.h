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
#include "selection.h"

SPEFT_BEGIN_DECLS

/* `speft_save_options.format` */
enum {
    /* float32 deltas: a reload is identical. */
    SPEFT_FORMAT_EXACT = 0,
    /* bfloat16 deltas, to nearest even: 2 bytes a weight less. What is lost is all but 8 significant bits of each
     * delta; a merged 16-bit weight seldom differs where the delta is small beside it, else in its last places. Dense
     * parameters are stored in the weight's own type and merge to the same bits. */
    SPEFT_FORMAT_COMPACT = 1
};

/* Takes the file's bytes in order, in pieces of any size; returns 0, or an errno that ends the call (IO). What it has
 * taken before is the host's to discard when the call fails. It must not call into libspeft (BUSY). */
typedef struct speft_writer {
    uint32_t struct_size;
    void *user;
    int32_t (*write)(void *user, const void *bytes, uint64_t count);
} speft_writer;

/* How a file is written. With a `writer` it goes there and `path` is NULL. `progress` may be NULL and counts bytes. */
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

/* How a file is read: from `path`, or where `bytes` is not NULL from these `size` bytes, which are the file's content,
 * and `path` is NULL. `progress` may be NULL and counts bytes. */
typedef struct speft_load_options {
    uint32_t struct_size;
    int32_t reserved;
    const speft_progress *progress;
    const void *bytes;
    uint64_t size;
    /* The score function of a checkpoint whose masks move by one: a file has none, and without it a reselection is
     * INVALID_STATE. Ignored for any other; copied. */
    const speft_score_function *score;
} speft_load_options;

SPEFT_API void speft_load_options_init(speft_load_options *options, uint32_t size);

/* A new adapter with the file's parameters, masks and deltas: selected, unmerged, not bound. Bind every parameter
 * (`speft_get_parameter` tells them), then `speft_merge`. It can be trained on: the optimizer starts afresh, after a
 * checkpoint too. `options` may be NULL. IO when it cannot be read; CORRUPT when it is not such a file, or a bit of it
 * has flipped; UNSUPPORTED when it is of another format. */
SPEFT_API speft_status speft_load_adapter(speft_context *context, const speft_load_options *options,
                                          const char *path, speft_adapter **adapter, speft_error **error);

/* A checkpoint is an adapter's file with what training needs beside it: the original bits, the optimizer's state, what
 * has been accumulated since the last clear. Saving one changes nothing; resuming from it is bit for bit as if training
 * had never stopped, in the middle of an accumulation too. It is always exact: SPEFT_FORMAT_COMPACT is
 * INVALID_ARGUMENT. Otherwise as `speft_save_adapter`. */
SPEFT_API speft_status speft_save_checkpoint(speft_adapter *adapter, const speft_save_options *options,
                                             const char *path, speft_error **error);

/* The adapter of a checkpoint, with its training state; selected, unmerged, not bound. `speft_merge` takes weights in
 * either state, the original bits or the merged ones, which is what a host's own checkpoint of its model holds; in a
 * basis the original ones alone. What
 * the host passes at each step (learning rates, scale) is the host's to restore. INVALID_ARGUMENT for a file that
 * `speft_save_adapter` wrote; otherwise as `speft_load_adapter`. */
SPEFT_API speft_status speft_load_checkpoint(speft_context *context, const speft_load_options *options,
                                             const char *path, speft_adapter **adapter, speft_error **error);

SPEFT_END_DECLS

#endif
