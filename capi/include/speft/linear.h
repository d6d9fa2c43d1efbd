/* A linear layer whose delta is applied on the fly: for parameters that train beside their weights, in a basis
 * (basis.h) or quantized (weights.h), and for adapters that are unmerged.
 *
 * Δ is the sparse delta, or Vᵀ Δ̃ U in a basis (Chekalina et al. 2024, table 2, whose input gradient is misprinted).
 * In a basis it is applied without a matrix of W's size for few tokens; for many, ΔW is made in scratch memory, which is
 * less work. Quantized weights are dequantized to float32 a tile at a time, and Δ is added there (qSpIEL: Ansell et al.
 * 2024, equation 10). INVALID_STATE: before the selection; where Δ is in the weights (merged; or attached, and not
 * trained beside them), whose own product has it already; the weights are not bound, but for `delta_only`. A dense
 * parameter is refused. */
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

/* A batch whose rows are served by different adapters over one base: y[t] = x[t] (W + Δ_a)ᵀ for each row t, Δ_a that of
 * parameter parameters[a] of adapters[a], a = choice[t], int64 [tokens] in host memory; −1 for W alone. `adapters` and
 * `parameters` are [count], count >= 1. Each adapter is as for speft_linear_forward and, unless `delta_only`, bound to
 * the same W (INVALID_ARGUMENT names the first that is not). All are of one context, whose turn this takes. Rows are
 * grouped by their adapter, so the work is that of one product with W and one with each Δ. The products with W and
 * with Δ are rounded to y's type one by one. */
SPEFT_API speft_status speft_linear_forward_each(speft_adapter *const *adapters, const int64_t *parameters,
                                                 int64_t count, const speft_linear_options *options,
                                                 const speft_tensor *x, const speft_tensor *choice,
                                                 const speft_tensor *y, speft_error **error);

SPEFT_END_DECLS

#endif
