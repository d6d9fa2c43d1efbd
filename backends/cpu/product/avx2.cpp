#include <immintrin.h>

#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx2 {
    static constexpr int lanes = 8;
    static constexpr int tokens_a_word = 1;
    typedef float Vector __attribute__((vector_size(32)));

    static Vector multiply_add(Vector a, Vector b, Vector sum) { return a * b + sum; }

    static Vector load_quads(const Word *source, std::uint64_t stride) {
        return _mm256_insertf128_ps(
            _mm256_castps128_ps256(_mm_loadu_ps(reinterpret_cast<const float *>(source))),
            _mm_loadu_ps(reinterpret_cast<const float *>(source + stride)), 1);
    }

    static void widen(const std::uint16_t *halves, Word *floats) {
        _mm256_storeu_ps(reinterpret_cast<float *>(floats),
                         _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(halves))));
    }
};

}  // namespace

// 16 registers of 8 floats: 12 of sums.
const ProductKernels avx2_kernels = KernelTemplate<Avx2, 6, 2>::kernels;

}  // namespace speft::cpu
