// sums += scale·source on AVX2 with F16C.
#pragma once

#include <cstdint>

namespace speft::cpu {

// For one element type.
struct AddKernels {
    // sums[j] += scale · source[j]
    void (*dense)(float *sums, const void *source, std::uint64_t count, float scale);
    // sums[j] += scale · source[indices[j]]
    void (*gathered)(float *sums, const void *source, const std::uint32_t *indices, std::uint64_t count, float scale);
};

#ifdef __x86_64__
extern const AddKernels avx2_add_kernels[3];  // by SPEFT_SCALAR_…
#endif

}  // namespace speft::cpu
