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

/* y = x (W + Δ)ᵀ: x [tokens, in], y [tokens, out], the caller's. */
SPEFT_API speft_status speft_linear_forward(speft_adapter *adapter, int64_t parameter, const speft_tensor *x,
                                            const speft_tensor *y, speft_error **error);

/* dx = dy (W + Δ): dy [tokens, out], dx [tokens, in], the caller's. */
SPEFT_API speft_status speft_linear_backward(speft_adapter *adapter, int64_t parameter, const speft_tensor *dy,
                                             const speft_tensor *dx, speft_error **error);

SPEFT_END_DECLS

#endif
