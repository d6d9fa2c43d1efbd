#include <immintrin.h>

#include "backends/cpu/quantization/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx512 {
    static constexpr std::uint64_t lanes = 16;

    static __m512 levels(const float *values) { return _mm512_loadu_ps(values); }
    static __m512 spread(float value) { return _mm512_set1_ps(value); }

    // A byte's upper half is the first of its two codes. The permutation reads the last 4 bits of a lane alone.
    static __m512 look_up(__m512 levels, const std::uint8_t *codes) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes));
        const __m128i pairs = _mm_unpacklo_epi8(_mm_srli_epi16(bytes, 4), bytes);
        return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(pairs), levels);
    }

    static __m512 read_int8(const std::int8_t *codes) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes));
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }

    static void store(float *weights, __m512 values) { _mm512_storeu_ps(weights, values); }

    static void store(BFloat *weights, __m512 values) {
        const __m512i bits = _mm512_castps_si512(values);
        const __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded =
            _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, even), _mm512_set1_epi32(0x7fff)), 16);
        const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
        const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(weights),
                            _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, is_nan, quiet)));
    }

    static void store(Half *weights, __m512 values) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(weights),
                            _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
};

}  // namespace

const DequantizeKernels avx512_dequantize_kernels = kernels_of<Avx512>;

}  // namespace speft::cpu
