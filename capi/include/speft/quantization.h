/* Quantizing a base weight and back, in bitsandbytes' layout: codes, absmax and dequantized weights are those that it
 * computes, bit for bit, but for the offset of a second quantization, which is summed in another order. */
#ifndef SPEFT_QUANTIZATION_H
#define SPEFT_QUANTIZATION_H

#include "context.h"
#include "error.h"
#include "export.h"
#include "linear.h"
#include "tensor.h"
#include "weights.h"

SPEFT_BEGIN_DECLS

/* Writes codes and absmax of `weights` (float32, bfloat16 or float16, all finite) into the caller's tensors, which
 * `quantized` names; with absmax_absmax, the three of the second quantization too. `levels` and `absmax_levels` are
 * read. Each weight gets the nearest level. A block of zeros has an absmax of 0 (1e-38 where it is a short last one of
 * 4 bits) and is 0 again afterwards. */
SPEFT_API speft_status speft_quantize(speft_context *context, const speft_tensor *weights,
                                      const speft_weights *quantized, speft_error **error);

/* `weights`: float32, bfloat16 or float16, the caller's, in the shape that was quantized. */
SPEFT_API speft_status speft_dequantize(speft_context *context, const speft_weights *quantized,
                                        const speft_tensor *weights, speft_error **error);

/* y = x Wᵀ with a quantized W [out, in], or [in, out] with that layout, of which no dense copy is made: x [tokens, in],
 * y [tokens, out], the caller's, float32, bfloat16 or float16. `options` as in linear.h, or NULL; `delta_only` must be
 * 0. Layers that an adapter trains are speft_linear_forward's. */
SPEFT_API speft_status speft_quantized_forward(speft_context *context, const speft_weights *quantized,
                                               const speft_linear_options *options, const speft_tensor *x,
                                               const speft_tensor *y, speft_error **error);

/* dx = dy W. */
SPEFT_API speft_status speft_quantized_backward(speft_context *context, const speft_weights *quantized,
                                                const speft_linear_options *options, const speft_tensor *dy,
                                                const speft_tensor *dx, speft_error **error);

SPEFT_END_DECLS

#endif
