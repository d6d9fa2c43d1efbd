/* What an adapter will need, before it is created. */
#ifndef SPEFT_MEMORY_H
#define SPEFT_MEMORY_H

#include <stdint.h>

#include "adapter.h"
#include "context.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* Bytes on the context's device. */
typedef struct speft_memory_plan {
    uint32_t struct_size;
    int32_t reserved;
    uint64_t observation; /* accumulators, before select */
    uint64_t selection;   /* scratch during select */
    uint64_t training;    /* after select */
    uint64_t gradient;    /* while gradients are accumulated */
} speft_memory_plan;

/* Takes what `speft_create_adapter` takes. UNSUPPORTED in this version. */
SPEFT_API speft_status speft_plan_memory(speft_context *context, const speft_adapter_options *options,
                                         const speft_parameter *const *parameters, int64_t count,
                                         speft_memory_plan *plan, speft_error **error);

SPEFT_END_DECLS

#endif
