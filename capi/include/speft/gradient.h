/* One contribution to a parameter's gradient, in whichever form the host has it. */
#ifndef SPEFT_GRADIENT_H
#define SPEFT_GRADIENT_H

#include <stdint.h>

#include "tensor.h"

/* `speft_gradient.kind` */
enum {
    /* `dense`: dL/dW, shape of the parameter. */
    SPEFT_GRADIENT_DENSE = 1,
    /* `x` and `dy` of a linear layer: dL/dW[r,c] = sum over tokens of dy[t,r] * x[t,c]. No dense dW is formed after
     * the selection. */
    SPEFT_GRADIENT_ACTIVATIONS = 2,
    /* `values`: dL/dW at the mask, in the mask's order. */
    SPEFT_GRADIENT_VALUES = 3
};

/* `speft_gradient.layout`: how the weight of the linear layer lies. */
enum {
    /* [out, in], y = x Wᵀ: torch.nn.Linear, candle's Linear. */
    SPEFT_LAYOUT_OUT_IN = 0,
    /* [in, out], y = x W: transformers' Conv1D, a JAX kernel. */
    SPEFT_LAYOUT_IN_OUT = 1
};

/* The tensors are float32, bfloat16 or float16, on the context's device, and free for reuse when the call returns
 * (on CUDA in stream order). */
typedef struct speft_gradient {
    uint32_t struct_size;
    int32_t kind;
    /* The contribution is multiplied by it: 1/tokens, or the inverse of a loss scale. 0 stands for 1. */
    double scale;
    const speft_tensor *dense;
    /* [tokens, in] and [tokens, out]. `dy` may be NULL where it is not needed (Wanda). */
    const speft_tensor *x;
    const speft_tensor *dy;
    /* [k] */
    const speft_tensor *values;
    int32_t layout;
    /* For observing Fisher scores from activations: int64 [examples + 1] in host memory, the first token of each
     * example and the number of tokens at the end. With it the E examples of a batch of weight w count as w/E each, by
     * the square of their own gradient, however many the batch has. A parameter has to receive all of an example in one
     * piece. Under a loss that is a mean over examples, `scale` is their number. NULL otherwise. */
    const speft_tensor *example_offsets;
} speft_gradient;

#endif
