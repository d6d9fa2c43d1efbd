/* A linear layer whose delta is applied on the fly: for quantized bases and rotated adapters, which train unmerged.
 *
 * UNSUPPORTED in this version. */
#ifndef SPEFT_LINEAR_H
#define SPEFT_LINEAR_H

#include <stdint.h>

#include "adapter.h"
#include "error.h"
#include "export.h"
#include "tensor.h"

SPEFT_BEGIN_DECLS

typedef struct speft_linear_options {
    uint32_t struct_size;
    int32_t layout;     /* SPEFT_LAYOUT_… */
    int32_t delta_only; /* 1: Δ in place of W + Δ, for hosts with a product of their own */
    int32_t accumulate; /* 1: added to what the output holds */
} speft_linear_options;

SPEFT_API void speft_linear_options_init(speft_linear_options *options, uint32_t size);

/* y = x (W + Δ)ᵀ: x [tokens, in], y [tokens, out], the caller's. `options` may be NULL. */
SPEFT_API speft_status speft_linear_forward(speft_adapter *adapter, int64_t parameter,
                                            const speft_linear_options *options, const speft_tensor *x,
                                            const speft_tensor *y, speft_error **error);

/* dx = dy (W + Δ): dy [tokens, out], dx [tokens, in], the caller's. `options` may be NULL. */
SPEFT_API speft_status speft_linear_backward(speft_adapter *adapter, int64_t parameter,
                                             const speft_linear_options *options, const speft_tensor *dy,
                                             const speft_tensor *dx, speft_error **error);

SPEFT_END_DECLS

#endif
