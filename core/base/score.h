// The salience of one scalar and its place in a ranking: the one definition that every backend and every test of
// ranking shares. float32, one rounding an operation.
#pragma once

#include <cmath>
#include <cstdint>

#include "scalar.h"
#include "speft/backend.h"

namespace speft {

// A key of 0 is never selected (NaN); otherwise a larger score has a larger key, −0 and +0 the same one.
SPEFT_HOST_DEVICE inline std::uint32_t rank_key(float score) {
    const std::uint32_t bits = bit_copy<std::uint32_t>(score);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0u;
    return bits == magnitude ? 0x80000000u + magnitude : 0x80000000u - magnitude;
}

template <class Scalar>
SPEFT_HOST_DEVICE inline float compute_score(const speft_score &score, std::uint64_t index) {
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT: return fabsf(to_float(static_cast<const Scalar *>(score.weights)[index]));
    case SPEFT_SCORE_ABS_GRADIENT: return fabsf(score.sums[index] / score.total_weight);
    case SPEFT_SCORE_ABS_PRODUCT:
        return fabsf(score.sums[index] / score.total_weight *
                     to_float(static_cast<const Scalar *>(score.weights)[index]));
    default: return score.sums[index];
    }
}

}  // namespace speft
