/* How several processes talk: the host's own engine (NCCL, MPI, torch.distributed) behind a small table.
 *
 * UNSUPPORTED in this version with a size above 1. */
#ifndef SPEFT_COMMUNICATOR_H
#define SPEFT_COMMUNICATOR_H

#include <stdint.h>

#include "tensor.h"

/* The functions return 0 on success. Tensors lie on the context's device; `stream` is the context's. */
typedef struct speft_communicator {
    uint32_t struct_size;
    int32_t rank;
    int32_t size;
    void *user;
    /* Sums in place. */
    int32_t (*all_reduce)(void *user, speft_tensor *values, void *stream);
    /* `all` is [size, …]: the parts of all ranks in order. */
    int32_t (*all_gather)(void *user, const speft_tensor *part, speft_tensor *all, void *stream);
    int32_t (*broadcast)(void *user, speft_tensor *values, int32_t root, void *stream);
    /* Called once, from any thread, when none of the others will be called again; may be NULL. */
    void (*release)(void *user);
} speft_communicator;

#endif
