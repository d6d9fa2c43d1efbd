#include <immintrin.h>

#include "backends/cpu/quantization/kernel_template.h"

namespace speft::cpu {
namespace {

struct Levels {
    __m256 lower, upper;
};

struct Avx2 {
    static constexpr std::uint64_t lanes = 8;

    static Levels levels(const float *values) { return {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)}; }
    static __m256 spread(float value) { return _mm256_set1_ps(value); }

    // A byte's upper half is the first of its two codes. Permutations read the last 3 bits of a lane, the fourth is
    // moved to the sign, by which the blend chooses.
    static __m256 look_up(const Levels &levels, const std::uint8_t *codes) {
        std::int32_t four;
        __builtin_memcpy(&four, codes, sizeof four);
        const __m128i bytes = _mm_cvtsi32_si128(four);
        const __m256i lanes_of_codes = _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(_mm_srli_epi16(bytes, 4), bytes));
        const __m256 is_upper = _mm256_castsi256_ps(_mm256_slli_epi32(lanes_of_codes, 28));
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(levels.lower, lanes_of_codes),
                                _mm256_permutevar8x32_ps(levels.upper, lanes_of_codes), is_upper);
    }

    static __m256 read_int8(const std::int8_t *codes) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes));
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    }

    static void store(float *weights, __m256 values) { _mm256_storeu_ps(weights, values); }

    static void store(BFloat *weights, __m256 values) {
        const __m256i bits = _mm256_castps_si256(values);
        const __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded =
            _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, even), _mm256_set1_epi32(0x7fff)), 16);
        const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
        const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
        const __m256i halves = _mm256_blendv_epi8(rounded, quiet, is_nan);
        const __m128i packed =
            _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(weights), packed);
    }

    static void store(Half *weights, __m256 values) {
        _mm_storeu_si128(reinterpret_cast<__m128i *>(weights),
                         _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
};

}  // namespace

const DequantizeKernels avx2_dequantize_kernels = kernels_of<Avx2>;

}  // namespace speft::cpu
