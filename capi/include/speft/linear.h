/* A linear layer whose delta is applied on the fly: for parameters in a basis (basis.h), which train beside their
 * weights, and for adapters that are unmerged.
 *
 * Δ is the sparse delta, or Vᵀ Δ̃ U in a basis (Chekalina et al. 2024, table 2, whose input gradient is misprinted).
 * For few tokens it is applied without a matrix of W's size, through the basis; for many, ΔW is made in scratch memory,
 * which is less work. INVALID_STATE: before the selection; where Δ is in the weights (merged; or attached, and not in a
 * basis), whose own product has it already; the weights are not bound, but for `delta_only`. A dense parameter is
 * refused. */
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
    int32_t accumulate; /* 1: added to what the output holds; else that is never read */
} speft_linear_options;

SPEFT_API void speft_linear_options_init(speft_linear_options *options, uint32_t size);

/* y = x (W + Δ)ᵀ: x [tokens, in], y [tokens, out], the caller's, float32, bfloat16 or float16. `options` may be NULL.
 * y overlaps no other. */
SPEFT_API speft_status speft_linear_forward(speft_adapter *adapter, int64_t parameter,
                                            const speft_linear_options *options, const speft_tensor *x,
                                            const speft_tensor *y, speft_error **error);

/* dx = dy (W + Δ): dy [tokens, out], dx [tokens, in], the caller's. `options` may be NULL. */
SPEFT_API speft_status speft_linear_backward(speft_adapter *adapter, int64_t parameter,
                                             const speft_linear_options *options, const speft_tensor *dy,
                                             const speft_tensor *dx, speft_error **error);

SPEFT_END_DECLS

#endif
