#include "backends/cpu/selection/compress_offsets.h"
#include "backends/cpu/selection/mask_bits.h"
#include "backends/cpu/selection/score_filter_template.h"

namespace speft::cpu {
namespace {

struct Avx512 {
    static constexpr std::uint32_t lanes = 16;
    using Floats = __m512;
    struct BFloat {
        std::uint16_t bits;
    };
    struct Half {
        std::uint16_t bits;
    };

    static Floats broadcast(float value) { return _mm512_set1_ps(value); }
    static Floats load(const float *source) { return _mm512_loadu_ps(source); }
    static Floats load(const BFloat *source) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(source));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    static Floats load(const Half *source) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(source)));
    }
    static void store(float *target, Floats values) { _mm512_storeu_ps(target, values); }
    static Floats magnitude(Floats values) { return _mm512_abs_ps(values); }
    static std::uint32_t at_least(Floats values, Floats bound) {
        return mask_bits(_mm512_cmp_ps_mask(values, bound, _CMP_GE_OQ));
    }
    static std::uint32_t not_numbers(Floats values) {
        return mask_bits(_mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q));
    }

    static __m512i broadcast16(std::uint16_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
    static __m512i load_magnitudes16(const std::uint16_t *source) {
        return _mm512_and_si512(_mm512_loadu_si512(source), _mm512_set1_epi16(0x7fff));
    }
    static std::uint32_t above16(__m512i values, __m512i bound) { return _mm512_cmpgt_epi16_mask(values, bound); }

    static void write_offsets(std::uint32_t hits, std::uint32_t first, std::uint16_t *offsets) {
        compress_offsets(hits, first, offsets);
    }
};

}  // namespace

const ScoreFilter avx512_filter = ScoreFilterTemplate<Avx512>::filters;

}  // namespace speft::cpu
