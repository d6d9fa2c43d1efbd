// One score by its formula in backend.h, each operation rounded for itself.
#pragma once

#include "tests/conformance/values.h"

namespace conformance {

inline const std::vector<std::int32_t> formulas = {SPEFT_SCORE_ABS_WEIGHT, SPEFT_SCORE_ABS_GRADIENT,
                                                   SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCORE_GIVEN};

inline bool needs_weights(std::int32_t formula) {
    return formula == SPEFT_SCORE_ABS_WEIGHT || formula == SPEFT_SCORE_ABS_PRODUCT;
}

inline bool needs_sums(std::int32_t formula) { return formula != SPEFT_SCORE_ABS_WEIGHT; }

inline float score_of(std::int32_t formula, float weight, float sum, float total_weight) {
    const float gradient = rounded(sum / total_weight);
    switch (formula) {
    case SPEFT_SCORE_ABS_WEIGHT: return std::fabs(weight);
    case SPEFT_SCORE_ABS_GRADIENT: return std::fabs(gradient);
    case SPEFT_SCORE_ABS_PRODUCT: return std::fabs(rounded(gradient * weight));
    default: return sum;
    }
}

}  // namespace conformance
