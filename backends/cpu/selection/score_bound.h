// A bound on the scores of one tensor, in terms of what its filter reads.
#pragma once

#include <cmath>

#include "backends/cpu/reference/score_keys.h"
#include "backends/cpu/selection/score_filter.h"
#include "core/base/scalar.h"
#include "core/base/score.h"
#include "core/base/score_bracket.h"

namespace speft::cpu {

// The inverse of rank_key on the keys of numbers.
inline float score_of(std::uint32_t key) {
    return bit_copy<float>(key >= 0x80000000u ? key - 0x80000000u : 0x80000000u + (0x80000000u - key));
}

// Whether its scores need not be computed before they are filtered.
inline bool is_filtered_directly(const speft_score &score) {
    return score.excluded_count == 0 && !has_factors(score.formula);
}

// Of a tensor that is filtered directly.
class ScoreBound {
public:
    // `key` is the key of a number.
    ScoreBound(const speft_score &score, std::uint32_t key) : score_(&score), lowest_(score_of(key)) {
        const bool brain = score.weights_type == SPEFT_SCALAR_BFLOAT16;
        if (has_plain_gradients())
            lowest_ = bit_copy<float>(find_lowest_magnitude(std::uint32_t{0x7f800000}, key, [&](std::uint32_t bits) {
                return bit_copy<float>(bits) / score.total_weight;
            }));
        if (has_magnitudes16()) {
            infinity16_ = brain ? 0x7f80 : 0x7c00;
            lowest16_ = find_lowest_magnitude(infinity16_, key, [&](std::uint16_t bits) {
                return brain ? to_float(BFloat16{bits}) : to_float(Float16{bits});
            });
        }
    }

    // The scalars of [first, first + count) that reach the bound; `count` as ScoreFilter wants it.
    Filtered filter(const ScoreFilter &filter, std::uint64_t first, std::uint32_t count, Offsets &offsets) const {
        if (has_magnitudes16())
            return filter.magnitudes16(static_cast<const std::uint16_t *>(score_->weights) + first, count, lowest16_,
                                       infinity16_, offsets);
        if (has_plain_gradients()) return filter.magnitudes(score_->sums + first, count, lowest_, offsets);
        return filter.formula(*score_, first, count, lowest_, offsets);
    }

private:
    // Ranking by |sum/total_weight| as by |sum| needs a divisor that keeps order and makes no NaN.
    bool has_plain_gradients() const {
        return score_->formula == SPEFT_SCORE_ABS_GRADIENT && score_->total_weight > 0 &&
               std::isfinite(score_->total_weight);
    }

    bool has_magnitudes16() const {
        return score_->formula == SPEFT_SCORE_ABS_WEIGHT && score_->weights_type != SPEFT_SCALAR_FLOAT32;
    }

    const speft_score *score_;
    float lowest_;
    std::uint16_t lowest16_ = 0;
    std::uint16_t infinity16_ = 0;
};

}  // namespace speft::cpu
