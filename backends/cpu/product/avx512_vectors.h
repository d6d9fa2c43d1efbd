// What both AVX-512 implementations share. Internal linkage, for the reason that kernel_template.h gives.
#pragma once

#include <immintrin.h>

#include "backends/cpu/product/kernels.h"

namespace speft::cpu {
namespace {

struct Avx512Vectors {
    static constexpr int lanes = 16;
    typedef float Vector __attribute__((vector_size(64)));

    // Loads that broadcast under a mask need no shuffles, which are scarcer than loads.
    static Vector load_quads(const Word *source, std::uint64_t stride) {
        __m512 quads = _mm512_castps128_ps512(_mm_loadu_ps(reinterpret_cast<const float *>(source)));
        for (int i = 1; i < 4; ++i)
            quads = _mm512_mask_broadcast_f32x4(quads, static_cast<__mmask16>(0xf << 4 * i),
                                                _mm_loadu_ps(reinterpret_cast<const float *>(source + i * stride)));
        return quads;
    }

    static void widen(const std::uint16_t *halves, Word *floats) {
        // Under a mask of ones, because GCC 12 takes the form without a mask for a use of what is not initialized.
        _mm512_storeu_ps(floats, _mm512_maskz_cvtph_ps(
                                     0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves))));
    }
};

}  // namespace
}  // namespace speft::cpu
