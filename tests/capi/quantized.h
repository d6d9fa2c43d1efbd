/* A quantized weight as a host has it: 5 × 52 scalars, whose blocks of 64 go across rows and end in a short one. */
#ifndef SPEFT_TESTS_CAPI_QUANTIZED_H
#define SPEFT_TESTS_CAPI_QUANTIZED_H

#include "host.h"

enum { ROWS = 5, COLUMNS = 52, SCALARS = ROWS * COLUMNS, BLOCK = 64, BLOCKS = 5, ABSMAX_BLOCK = 64 };

static const speft_dtype uint8 = {SPEFT_CODE_UINT, 8, 1};
static const speft_dtype int8 = {SPEFT_CODE_INT, 8, 1};

/* A record of all that a quantized weight may have, and the memory that it names. */
struct quantized {
    uint8_t codes[SCALARS];
    float absmax[BLOCKS];
    uint8_t absmax_codes[BLOCKS];
    float absmax_absmax[1];
    float absmax_offset[1];
    speft_tensor code_view, absmax_view, absmax_absmax_view, absmax_offset_view;
    speft_quantization quantization;
    speft_weights weights;
};

static const int64_t one[] = {1}, five[] = {BLOCKS}, half[] = {SCALARS / 2, 1}, matrix[] = {ROWS, COLUMNS};

static inline void start_quantized(struct quantized *quantized, int32_t kind, int twice) {
    memset(quantized, 0, sizeof *quantized);
    memset(quantized->codes, 0xa5, sizeof quantized->codes);
    const int is_int8 = kind == SPEFT_WEIGHTS_INT8;
    quantized->code_view = is_int8 ? view(quantized->codes, int8, 2, matrix) : view(quantized->codes, uint8, 2, half);
    quantized->absmax_view = twice ? view(quantized->absmax_codes, uint8, 1, five)
                                   : view(quantized->absmax, float32, 1, five);
    quantized->absmax_absmax_view = view(quantized->absmax_absmax, float32, 1, one);
    quantized->absmax_offset_view = view(quantized->absmax_offset, float32, 0, NULL);
    quantized->quantization.struct_size = sizeof quantized->quantization;
    quantized->quantization.block = is_int8 ? 0 : BLOCK;
    quantized->quantization.absmax = &quantized->absmax_view;
    if (twice) {
        quantized->quantization.absmax_absmax = &quantized->absmax_absmax_view;
        quantized->quantization.absmax_offset = &quantized->absmax_offset_view;
        quantized->quantization.absmax_block = ABSMAX_BLOCK;
    }
    quantized->weights.struct_size = sizeof quantized->weights;
    quantized->weights.kind = kind;
    quantized->weights.data = &quantized->code_view;
    quantized->weights.quantization = &quantized->quantization;
}

#endif
