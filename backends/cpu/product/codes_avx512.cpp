#include <immintrin.h>

#include "backends/cpu/product/code_kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx512 {
    static constexpr std::uint64_t most_rows = 128, most_tokens = 16;
    static constexpr int lanes = 16;
    typedef float Vector __attribute__((vector_size(64)));
    typedef std::uint32_t Words __attribute__((vector_size(64)));

    static Vector levels(const float *values) { return _mm512_loadu_ps(values); }

    // The permutation reads the last 4 bits of a lane alone.
    static Vector look_up(Vector levels, Words words) {
        return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(words), levels);
    }

    static Vector spread(const float *scales) {
        const __m512i lanes_of_scales = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        return _mm512_permutexvar_ps(lanes_of_scales, _mm512_castps128_ps512(_mm_loadu_ps(scales)));
    }

    static float sum(Vector vector) { return _mm512_reduce_add_ps(vector); }
};

}  // namespace

// 32 registers: 16 of sums or factors, a row's codes and scales each.
const CodeKernels avx512_code_kernels = CodeTemplate<Avx512>::kernels<4, 4>;

}  // namespace speft::cpu
