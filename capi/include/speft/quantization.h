/* Quantizing a base weight and back, in bitsandbytes' layout: codes, absmax and dequantized weights are those that it
 * computes, bit for bit, but for the offset of a second quantization, which is summed in another order. */
#ifndef SPEFT_QUANTIZATION_H
#define SPEFT_QUANTIZATION_H

#include "context.h"
#include "error.h"
#include "export.h"
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

SPEFT_END_DECLS

#endif
