// sums += weight·map(scale·source) on AVX2 with F16C.
#pragma once

#include <cstdint>

namespace speft::cpu {

struct AddedAs {
    float scale;
    float weight;
};

// For one element type and one map.
struct AddKernels {
    // sums[j] += weight · map(scale · source[j])
    void (*dense)(float *sums, const void *source, std::uint64_t count, const AddedAs &added);
    // sums[j] += weight · map(scale · source[indices[j]])
    void (*gathered)(float *sums, const void *source, const std::uint32_t *indices, std::uint64_t count,
                     const AddedAs &added);
};

#ifdef __x86_64__
extern const AddKernels avx2_add_kernels[3][3];  // by SPEFT_SCALAR_… and SPEFT_MAP_…
#endif

}  // namespace speft::cpu
