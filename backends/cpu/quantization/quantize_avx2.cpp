#include <immintrin.h>

#include "backends/cpu/quantization/quantize_template.h"

namespace speft::cpu {
namespace {

struct Middles {
    __m256 lower, upper;
};

struct Avx2 {
    static constexpr std::uint64_t lanes = 8;
    typedef float Vector __attribute__((vector_size(32)));
    typedef std::int32_t Integers __attribute__((vector_size(32)));

    static Vector load(const float *weights) { return _mm256_loadu_ps(weights); }

    static Vector load(const BFloat *weights) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(read(weights)), 16));
    }

    static Vector load(const Half *weights) { return _mm256_cvtph_ps(read(weights)); }

    static Vector least(Vector a, Vector b) { return _mm256_min_ps(a, b); }
    static Vector most(Vector a, Vector b) { return _mm256_max_ps(a, b); }
    static Integers most(Integers a, Integers b) {
        return reinterpret_cast<Integers>(
            _mm256_max_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
    }
    static std::int32_t reduce_max(Integers numbers) {
        const __m256i all = reinterpret_cast<__m256i>(numbers);
        __m128i most = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
        return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1)));
    }

    static Middles read_middles(const float *middles) {
        return {_mm256_loadu_ps(middles), _mm256_loadu_ps(middles + 7)};
    }

    // By halves, as OrderedLevels does: `upper` holds middle 7, which parts the halves, and those above it.
    static Integers count_below(const Middles &middles, Vector share) {
        const __m256 parting = _mm256_permutevar8x32_ps(middles.upper, _mm256_setzero_si256());
        const __m256 is_upper = _mm256_cmp_ps(parting, share, _CMP_LT_OQ);
        const __m256i half = _mm256_and_si256(_mm256_castps_si256(is_upper), _mm256_set1_epi32(8));
        __m256i below = _mm256_setzero_si256();  // of the half's 7
        for (int step = 4; step > 0; step /= 2) {
            const __m256i at = _mm256_add_epi32(below, _mm256_set1_epi32(step - 1));
            const __m256i above = _mm256_add_epi32(at, _mm256_set1_epi32(1));
            const __m256 middle = _mm256_blendv_ps(_mm256_permutevar8x32_ps(middles.lower, at),
                                                   _mm256_permutevar8x32_ps(middles.upper, above), is_upper);
            const __m256i is_below = _mm256_castps_si256(_mm256_cmp_ps(middle, share, _CMP_LT_OQ));
            below = _mm256_add_epi32(below, _mm256_and_si256(is_below, _mm256_set1_epi32(step)));
        }
        return reinterpret_cast<Integers>(_mm256_add_epi32(below, half));
    }

    // A byte's upper half is the first of its two codes.
    static void store_pairs(Integers numbers, const std::uint8_t *codes, std::uint8_t *target) {
        const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes));
        const __m128i bytes = _mm_shuffle_epi8(table, to_bytes(reinterpret_cast<__m256i>(numbers)));
        const __m128i pairs = _mm_maddubs_epi16(bytes, _mm_set1_epi16(0x0110));
        const std::int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
        __builtin_memcpy(target, &four, sizeof four);
    }

    static void store_int8(Vector values, std::int8_t *target) {
        _mm_storel_epi64(reinterpret_cast<__m128i *>(target), to_bytes(_mm256_cvtps_epi32(values)));
    }

private:
    static __m128i read(const void *halves) { return _mm_loadu_si128(static_cast<const __m128i *>(halves)); }

    // The first 8 of them: of int32 that int8 holds.
    static __m128i to_bytes(__m256i numbers) {
        const __m128i halves =
            _mm_packs_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
        return _mm_packs_epi16(halves, halves);
    }
};

}  // namespace

const QuantizeKernels avx2_quantize_kernels = quantize_kernels_of<Avx2>;

}  // namespace speft::cpu
