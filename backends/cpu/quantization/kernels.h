// Codes of one block to weights, and weights to codes, in vectors.
#pragma once

#include <cstdint>

namespace speft::cpu {

// By SPEFT_SCALAR_…: of blocks that begin at a whole byte.
struct DequantizeKernels {
    void (*levels4[3])(const std::uint8_t *codes, const float *levels, float absmax, std::uint64_t count,
                       void *weights);
    void (*int8[3])(const std::int8_t *codes, float absmax, std::uint64_t count, void *weights);
};

// 16 levels as they rise: their codes, and the middles between neighbours, as in OrderedLevels.
struct LevelTable {
    float middles[15];
    std::uint8_t codes[16];
};

// Likewise.
struct QuantizeKernels {
    std::uint64_t (*count_not_finite[3])(const void *weights, std::uint64_t count);
    float (*find_absmax[3])(const void *weights, std::uint64_t count);
    // Of shares weight/factor where `divides`, else weight·factor; after an odd count comes the code of 0.
    void (*levels4[3])(const void *weights, std::uint64_t count, const LevelTable &table, bool divides, float factor,
                       std::uint8_t *codes);
    void (*int8[3])(const void *weights, std::uint64_t count, float factor, std::int8_t *codes);
};

#ifdef __x86_64__
extern const DequantizeKernels avx512_dequantize_kernels;
extern const DequantizeKernels avx2_dequantize_kernels;
extern const QuantizeKernels avx512_quantize_kernels;
extern const QuantizeKernels avx2_quantize_kernels;
#endif

}  // namespace speft::cpu
