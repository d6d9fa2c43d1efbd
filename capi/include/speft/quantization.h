/* Quantizing a base weight and back, in bitsandbytes' layout.
 *
 * UNSUPPORTED in this version. */
#ifndef SPEFT_QUANTIZATION_H
#define SPEFT_QUANTIZATION_H

#include "context.h"
#include "error.h"
#include "export.h"
#include "tensor.h"
#include "weights.h"

SPEFT_BEGIN_DECLS

/* Writes codes and absmax into the caller's tensors, which `quantized` names. */
SPEFT_API speft_status speft_quantize(speft_context *context, const speft_tensor *weights,
                                      const speft_weights *quantized, speft_error **error);

/* `weights`: float32, the caller's. */
SPEFT_API speft_status speft_dequantize(speft_context *context, const speft_weights *quantized,
                                        const speft_tensor *weights, speft_error **error);

SPEFT_END_DECLS

#endif
