// AVX-512: the offsets of set bits. Internal linkage, for files that are compiled for it.
#pragma once

#include <immintrin.h>

#include "backends/cpu/selection/offsets.h"

namespace speft::cpu {
namespace {

// Writes first + i for each set bit i of `hits`, in order. Compressed into a register first: with memory as its target
// the instruction is microcoded on Zen 4.
inline void compress_offsets(std::uint32_t hits, std::uint32_t first, std::uint16_t *offsets) {
    const __m512i steps = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14,
                                           13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i all = _mm512_add_epi16(steps, _mm512_set1_epi16(static_cast<short>(first)));
    _mm512_storeu_si512(offsets, _mm512_maskz_compress_epi16(hits, all));
}

}  // namespace
}  // namespace speft::cpu
