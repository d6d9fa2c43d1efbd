// 16 levels in AVX2's registers, which hold 8. Internal linkage, for the reason that kernel_template.h gives.
#pragma once

#include <immintrin.h>

namespace speft::cpu {
namespace {

struct Avx2Levels {
    struct Levels {
        __m256 lower, upper;
    };

    static Levels levels(const float *values) { return {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)}; }

    // By the last 4 bits of a lane: permutations read 3 of them, the fourth is moved to the sign, by which the blend
    // chooses.
    static __m256 choose(const Levels &levels, __m256i codes) {
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(levels.lower, codes),
                                _mm256_permutevar8x32_ps(levels.upper, codes),
                                _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));
    }
};

}  // namespace
}  // namespace speft::cpu
