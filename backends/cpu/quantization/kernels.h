// Codes of one block to weights, in vectors.
#pragma once

#include <cstdint>

namespace speft::cpu {

// By SPEFT_SCALAR_…: of blocks that begin at a whole byte.
struct DequantizeKernels {
    void (*levels4[3])(const std::uint8_t *codes, const float *levels, float absmax, std::uint64_t count,
                       void *weights);
    void (*int8[3])(const std::int8_t *codes, float absmax, std::uint64_t count, void *weights);
};

#ifdef __x86_64__
extern const DequantizeKernels avx512_dequantize_kernels;
extern const DequantizeKernels avx2_dequantize_kernels;
#endif

}  // namespace speft::cpu
