#include <immintrin.h>

#include "backends/cpu/quantization/avx2_levels.h"
#include "backends/cpu/quantization/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx2 : Avx2Levels {
    static constexpr std::uint64_t lanes = 8;
    typedef float Vector __attribute__((vector_size(32)));
    typedef std::uint32_t Words __attribute__((vector_size(32)));

    // A byte's upper half is the first of its two codes.
    static Vector look_up(const Levels &levels, const std::uint8_t *codes) {
        std::int32_t four;
        __builtin_memcpy(&four, codes, sizeof four);
        const __m128i bytes = _mm_cvtsi32_si128(four);
        return choose(levels, _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(_mm_srli_epi16(bytes, 4), bytes)));
    }

    static Vector read_int8(const std::int8_t *codes) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes));
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    }

    static void narrow(Words words, std::uint16_t *halves) {
        const __m256i all = reinterpret_cast<__m256i>(words);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(halves),
                         _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
    }

    static void round_to_float16(Vector values, std::uint16_t *halves) {
        _mm_storeu_si128(reinterpret_cast<__m128i *>(halves),
                         _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
};

}  // namespace

const DequantizeKernels avx2_dequantize_kernels = kernels_of<Avx2>;

}  // namespace speft::cpu
