#include <immintrin.h>

#include "backends/cpu/selection/score_filter_template.h"

namespace speft::cpu {
namespace {

struct Avx2 {
    static constexpr std::uint32_t lanes = 8;
    using Floats = __m256;
    struct BFloat {
        std::uint16_t bits;
    };
    struct Half {
        std::uint16_t bits;
    };
    // The 16-bit numbers of a step.
    struct Step {
        __m256i low, high;
    };

    static Floats broadcast(float value) { return _mm256_set1_ps(value); }
    static Floats load(const float *source) { return _mm256_loadu_ps(source); }
    static Floats load(const BFloat *source) {
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i *>(source));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    static Floats load(const Half *source) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(source)));
    }
    static void store(float *target, Floats values) { _mm256_storeu_ps(target, values); }
    static Floats magnitude(Floats values) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values); }
    static std::uint32_t at_least(Floats values, Floats bound) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(values, bound, _CMP_GE_OQ)));
    }
    static std::uint32_t not_numbers(Floats values) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(values, values, _CMP_UNORD_Q)));
    }

    static Step broadcast16(std::uint16_t value) {
        const __m256i all = _mm256_set1_epi16(static_cast<short>(value));
        return {all, all};
    }
    static Step load_magnitudes16(const std::uint16_t *source) {
        const __m256i mask = _mm256_set1_epi16(0x7fff);
        const auto *vectors = reinterpret_cast<const __m256i *>(source);
        return {_mm256_and_si256(_mm256_loadu_si256(vectors), mask),
                _mm256_and_si256(_mm256_loadu_si256(vectors + 1), mask)};
    }
    // Packing halves each comparison to bytes, but 128 bits at a time: the permutation restores the order.
    static std::uint32_t above16(Step values, Step bound) {
        const __m256i packed = _mm256_packs_epi16(_mm256_cmpgt_epi16(values.low, bound.low),
                                                  _mm256_cmpgt_epi16(values.high, bound.high));
        return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0b11'01'10'00)));
    }

    static void write_offsets(std::uint32_t hits, std::uint32_t first, std::uint16_t *offsets) {
        for (; hits != 0; hits &= hits - 1)
            *offsets++ = static_cast<std::uint16_t>(first + static_cast<std::uint32_t>(__builtin_ctz(hits)));
    }
};

}  // namespace

const ScoreFilter avx2_filter = ScoreFilterTemplate<Avx2>::filters;

}  // namespace speft::cpu
