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
    /* 4-bit codes with a scale ("absmax") a block, as bitsandbytes writes them. An adapter trains its deltas beside
     * quantized weights, which only merging changes: linear.h applies both. */
    SPEFT_WEIGHTS_NF4 = 1,
    SPEFT_WEIGHTS_FP4 = 2,
    /* int8 with a scale a row: round(w·127/absmax). A row is what the last axis holds. */
    SPEFT_WEIGHTS_INT8 = 3
};

/* How the codes of a quantized weight of N scalars turn into numbers. The tensors may have any shape of that many
 * elements. */
typedef struct speft_quantization {
    uint32_t struct_size;
    /* Scalars that share one absmax: a power of 2 between 32 and 4,096. INT8: 0. */
    int32_t block;
    /* float32 [ceil(N / block)], or uint8 of that length when the absmax are quantized themselves. INT8: [rows]. */
    const speft_tensor *absmax;
    /* float32 [16]: the value of each code, in [-1, 1]; NULL for the kind's own table. NULL for INT8. */
    const speft_tensor *levels;
    /* Second quantization, in blocks of `absmax_block` absmax, a power of 2 between 64 and 4,096 (bitsandbytes: 256):
     * absmax = absmax_levels[code]·absmax_absmax + absmax_offset. All NULL or zero when there is none, as for INT8. */
    const speft_tensor *absmax_absmax; /* float32 [ceil(length of absmax / absmax_block)] */
    const speft_tensor *absmax_levels; /* float32 [256], rising, in [-1, 1]; NULL for bitsandbytes' dynamic map */
    const speft_tensor *absmax_offset; /* float32 [1]: the mean of the absmax */
    int32_t absmax_block;
    int32_t reserved;
} speft_quantization;

typedef struct speft_weights {
    uint32_t struct_size;
    int32_t kind;
    /* DENSE: the weights, in the shape of the parameter (or of the part this process holds). float32, bfloat16 or
     * float16. INT8: the codes, int8, in the shape of the weight. Otherwise the codes, uint8 [ceil(N / 2)], the first
     * of two in the upper half of a byte. Written in place by step, merge and unmerge when DENSE, otherwise by merge and unmerge alone, as are the absmax. */
    const speft_tensor *data;
    /* NULL when DENSE. */
    const speft_quantization *quantization;
} speft_weights;

#endif
