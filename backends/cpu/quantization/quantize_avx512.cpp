#include <immintrin.h>

#include "backends/cpu/quantization/quantize_template.h"

namespace speft::cpu {
namespace {

struct Avx512 {
    static constexpr std::uint64_t lanes = 16;
    typedef float Vector __attribute__((vector_size(64)));
    typedef std::int32_t Integers __attribute__((vector_size(64)));

    static Vector load(const float *weights) { return _mm512_loadu_ps(weights); }

    static Vector load(const BFloat *weights) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(read(weights)), 16));
    }

    static Vector load(const Half *weights) { return _mm512_cvtph_ps(read(weights)); }

    static Vector least(Vector a, Vector b) { return _mm512_min_ps(a, b); }
    static Vector most(Vector a, Vector b) { return _mm512_max_ps(a, b); }
    static Integers most(Integers a, Integers b) {
        return reinterpret_cast<Integers>(
            _mm512_max_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
    }
    static std::int32_t reduce_max(Integers numbers) {
        return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(numbers));
    }

    static Vector read_middles(const float *middles) { return _mm512_maskz_loadu_ps(0x7fff, middles); }

    // By halves, as OrderedLevels does.
    static Integers count_below(Vector middles, Vector share) {
        __m512i below = _mm512_setzero_si512();
        for (int step = 8; step > 0; step /= 2) {
            const __m512i at = _mm512_add_epi32(below, _mm512_set1_epi32(step - 1));
            const __mmask16 is_below = _mm512_cmp_ps_mask(_mm512_permutexvar_ps(at, middles), share, _CMP_LT_OQ);
            below = _mm512_mask_add_epi32(below, is_below, below, _mm512_set1_epi32(step));
        }
        return reinterpret_cast<Integers>(below);
    }

    // A byte's upper half is the first of its two codes.
    static void store_pairs(Integers numbers, const std::uint8_t *codes, std::uint8_t *target) {
        const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes));
        const __m128i bytes = _mm_shuffle_epi8(table, _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(numbers)));
        const __m128i pairs = _mm_maddubs_epi16(bytes, _mm_set1_epi16(0x0110));
        _mm_storel_epi64(reinterpret_cast<__m128i *>(target), _mm_packus_epi16(pairs, pairs));
    }

    static void store_int8(Vector values, std::int8_t *target) {
        _mm_storeu_si128(reinterpret_cast<__m128i *>(target), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values)));
    }

private:
    static __m256i read(const void *halves) { return _mm256_loadu_si256(static_cast<const __m256i *>(halves)); }
};

}  // namespace

const QuantizeKernels avx512_quantize_kernels = quantize_kernels_of<Avx512>;

}  // namespace speft::cpu
