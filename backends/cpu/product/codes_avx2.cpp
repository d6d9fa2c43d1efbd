#include <immintrin.h>

#include "backends/cpu/product/code_kernel_template.h"

namespace speft::cpu {
namespace {

struct Levels {
    __m256 lower, upper;
};

struct Avx2 {
    static constexpr std::uint64_t most_tokens = 4;
    static constexpr int lanes = 8;
    typedef float Vector __attribute__((vector_size(32)));
    typedef std::uint32_t Words __attribute__((vector_size(32)));

    static Levels levels(const float *values) { return {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)}; }

    // Permutations read the last 3 bits of a lane, the fourth is moved to the sign, by which the blend chooses.
    static Vector look_up(const Levels &levels, Words words) {
        const __m256i codes = reinterpret_cast<__m256i>(words);
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(levels.lower, codes),
                                _mm256_permutevar8x32_ps(levels.upper, codes),
                                _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));
    }

    static Vector spread(const float *scales) {
        return _mm256_setr_ps(scales[0], scales[0], scales[0], scales[0], scales[1], scales[1], scales[1], scales[1]);
    }

    static float sum(Vector vector) {
        __m128 sums = _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps(vector, 1));
        sums = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
        return _mm_cvtss_f32(_mm_add_ss(sums, _mm_movehdup_ps(sums)));
    }
};

}  // namespace

// 16 registers: 4 of sums or factors, 2 of levels, a row's codes and scales each.
const CodeKernels avx2_code_kernels = CodeTemplate<Avx2>::kernels<2, 2>;

}  // namespace speft::cpu
