// Stretches of a quantized weight, by the kernels of an instruction set.
#pragma once

#include "backends/cpu/quantization/kernels.h"
#include "backends/cpu/quantization/scales.h"

namespace speft::cpu {

// weights[j − begin], of the type, for j in [begin, end); of 4-bit codes `begin` is even.
inline void decode(const speft_quantized_blocks &quantized, const DequantizeKernels &kernels, std::int32_t type,
                   std::uint64_t begin, std::uint64_t end, void *weights) {
    const std::uint64_t width = type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    if (begin == end) return;
    std::uint64_t at = begin;
    for_each_scale(quantized, begin / quantized.block, (end - 1) / quantized.block + 1,
                   [&](std::uint64_t block, float absmax) {
        const std::uint64_t count = std::min((block + 1) * quantized.block, end) - at;
        void *const target = static_cast<unsigned char *>(weights) + (at - begin) * width;
        if (quantized.coding == SPEFT_CODING_INT8)
            kernels.int8[type](static_cast<const std::int8_t *>(quantized.codes) + at, absmax, count, target);
        else
            kernels.levels4[type](static_cast<const std::uint8_t *>(quantized.codes) + at / 2, quantized.levels,
                                  absmax, count, target);
        at += count;
    });
}

// In float32, from anywhere.
inline void decode(const speft_quantized_blocks &quantized, const DequantizeKernels &kernels, std::uint64_t begin,
                   std::uint64_t end, float *weights) {
    if (begin % 2 == 1 && begin < end) {
        *weights++ = decode_scalar(quantized, begin, scale_of_block(quantized, begin / quantized.block));
        ++begin;
    }
    decode(quantized, kernels, SPEFT_SCALAR_FLOAT32, begin, end, weights);
}

}  // namespace speft::cpu
