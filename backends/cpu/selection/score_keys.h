// The keys of scalars by the one definition in core/base/score.h, with formula and type as constants.
#pragma once

#include <span>

#include "backends/cpu/scalar_types.h"
#include "core/base/score.h"

namespace speft::cpu {

// keys[i] is that of the scalar indices[i].
template <class Scalar, std::int32_t formula>
void compute_keys_of(speft_score score, std::span<const std::uint32_t> indices, std::uint32_t *keys) {
    score.formula = formula;
    for (std::uint64_t i = 0; i < indices.size(); ++i) keys[i] = rank_key(compute_score<Scalar>(score, indices[i]));
}

inline void compute_keys(const speft_score &score, std::span<const std::uint32_t> indices, std::uint32_t *keys) {
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT:
        return visit_scalar(score.weights_type, [&](auto scalar) {
            compute_keys_of<decltype(scalar), SPEFT_SCORE_ABS_WEIGHT>(score, indices, keys);
        });
    case SPEFT_SCORE_ABS_PRODUCT:
        return visit_scalar(score.weights_type, [&](auto scalar) {
            compute_keys_of<decltype(scalar), SPEFT_SCORE_ABS_PRODUCT>(score, indices, keys);
        });
    case SPEFT_SCORE_ABS_GRADIENT: return compute_keys_of<float, SPEFT_SCORE_ABS_GRADIENT>(score, indices, keys);
    case SPEFT_SCORE_GIVEN: return compute_keys_of<float, SPEFT_SCORE_GIVEN>(score, indices, keys);
    default:
        throw Failure(SPEFT_INTERNAL, "the CPU backend knows no score formula " + std::to_string(score.formula));
    }
}

}  // namespace speft::cpu
