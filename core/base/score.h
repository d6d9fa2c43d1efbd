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

// Σ_q left[row, q]·right[column, q], each product rounded, then each sum.
SPEFT_HOST_DEVICE inline float low_rank_entry(const speft_score &score, std::uint64_t index) {
    const float *left = score.left + index / score.columns * score.rank;
    const float *right = score.right + index % score.columns * score.rank;
    float sum = 0;
    for (std::uint32_t q = 0; q < score.rank; ++q) sum += left[q] * right[q];
    return sum;
}

template <class Scalar>
SPEFT_HOST_DEVICE inline float compute_score(const speft_score &score, std::uint64_t index) {
    const auto weight = [&] { return to_float(static_cast<const Scalar *>(score.weights)[index]); };
    const auto gradient = [&] { return score.sums[index] / score.total_weight; };
    const auto difference = [&] { return weight() - to_float(static_cast<const Scalar *>(score.reference)[index]); };
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT: return fabsf(weight());
    case SPEFT_SCORE_ABS_GRADIENT: return fabsf(gradient());
    case SPEFT_SCORE_ABS_PRODUCT: return fabsf(gradient() * weight());
    case SPEFT_SCORE_PRODUCT: return gradient() * weight();
    case SPEFT_SCORE_NEGATIVE_PRODUCT: return -(gradient() * weight());
    case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT: return -fabsf(weight());
    case SPEFT_SCORE_ABS_DIFFERENCE: return fabsf(difference());
    case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE: return -fabsf(difference());
    case SPEFT_SCORE_SCALED_WEIGHT:
        return fabsf(weight()) *
               sqrtf(score.left ? score.left[index / score.columns] : score.right[index % score.columns]);
    case SPEFT_SCORE_LOW_RANK: return fabsf(low_rank_entry(score, index));
    case SPEFT_SCORE_MOMENTUM:
        return sqrtf(score.left[index / score.columns]) * sqrtf(score.right[index % score.columns]);
    default: return score.sums[index];
    }
}

}  // namespace speft
