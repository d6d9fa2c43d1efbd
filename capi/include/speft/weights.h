/* The host's weights, as they lie in its memory: dense, or quantized.
 *
 * Wherever a call takes a base weight it takes this tagged view; the unused members stay zero. */
#ifndef SPEFT_WEIGHTS_H
#define SPEFT_WEIGHTS_H

#include <stdint.h>

#include "tensor.h"

/* `speft_weights.kind` */
enum {
    SPEFT_WEIGHTS_DENSE = 0,
    /* 4-bit codes with a scale ("absmax") a block, as bitsandbytes writes them. UNSUPPORTED in this version. */
    SPEFT_WEIGHTS_NF4 = 1,
    SPEFT_WEIGHTS_FP4 = 2,
    /* int8 with a scale a row. UNSUPPORTED in this version. */
    SPEFT_WEIGHTS_INT8 = 3
};

/* How the codes of a quantized weight turn into numbers. */
typedef struct speft_quantization {
    uint32_t struct_size;
    /* Scalars that share one absmax. */
    int32_t block;
    /* float32 [ceil(N / block)], or uint8 of that length when the absmax are quantized themselves. */
    const speft_tensor *absmax;
    /* float32 [levels]: the value of each code; NULL for the kind's own table. */
    const speft_tensor *levels;
    /* Second quantization: blocks of `absmax_block` absmax; all NULL or zero when there is none. */
    const speft_tensor *absmax_absmax;
    const speft_tensor *absmax_levels;
    int32_t absmax_block;
    float absmax_offset;
} speft_quantization;

typedef struct speft_weights {
    uint32_t struct_size;
    int32_t kind;
    /* DENSE: the weights, in the shape of the parameter (or of the part this process holds). float32, bfloat16 or
     * float16. Otherwise: the codes. Written in place by step, merge and unmerge when DENSE, never otherwise. */
    const speft_tensor *data;
    /* NULL when DENSE. */
    const speft_quantization *quantization;
} speft_weights;

#endif
