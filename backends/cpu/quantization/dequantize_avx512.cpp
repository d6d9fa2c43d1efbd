#include <immintrin.h>

#include "backends/cpu/quantization/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx512 {
    static constexpr std::uint64_t lanes = 16;
    typedef float Vector __attribute__((vector_size(64)));
    typedef std::uint32_t Words __attribute__((vector_size(64)));

    static Vector levels(const float *values) { return _mm512_loadu_ps(values); }

    // A byte's upper half is the first of its two codes. The permutation reads the last 4 bits of a lane alone.
    static Vector look_up(Vector levels, const std::uint8_t *codes) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes));
        const __m128i pairs = _mm_unpacklo_epi8(_mm_srli_epi16(bytes, 4), bytes);
        return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(pairs), levels);
    }

    static Vector read_int8(const std::int8_t *codes) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes));
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }

    static void narrow(Words words, std::uint16_t *halves) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(halves),
                            _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(words)));
    }

    static void round_to_float16(Vector values, std::uint16_t *halves) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(halves),
                            _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
};

}  // namespace

const DequantizeKernels avx512_dequantize_kernels = kernels_of<Avx512>;

}  // namespace speft::cpu
