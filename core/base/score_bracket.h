// How a selection brackets the k-th largest score before it reads them all: a sample gives a bound that some more than
// k scores should reach, and says for how many there must be room. Whether the bound was good is known by counting, so
// that nothing here decides what is selected.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "random.h"
#include "scalar.h"
#include "score.h"
#include "speft/backend.h"

namespace speft {

// The key of −inf, and the lowest that is selected.
inline constexpr std::uint32_t lowest_key = 0x00800000u;

// Whether scores are computed of a row's and a column's factors.
SPEFT_HOST_DEVICE constexpr bool has_factors(std::int32_t formula) {
    return formula == SPEFT_SCORE_SCALED_WEIGHT || formula == SPEFT_SCORE_LOW_RANK || formula == SPEFT_SCORE_MOMENTUM;
}

// How many low bits are 0 in the key of every number of a tensor: those that its type does not have.
inline unsigned count_zero_bits(const speft_score &score) {
    if (score.formula != SPEFT_SCORE_ABS_WEIGHT && score.formula != SPEFT_SCORE_NEGATIVE_ABS_WEIGHT) return 0;
    switch (score.weights_type) {
    case SPEFT_SCALAR_BFLOAT16: return 16;
    case SPEFT_SCALAR_FLOAT16: return 13;
    default: return 0;
    }
}

// The lowest bits in [0, infinity] that, as a scalar, score at least `key`; past infinity's when none do. As a
// magnitude grows its score never falls, since roundings keep order.
template <class Bits, class Score>
SPEFT_HOST_DEVICE inline Bits find_lowest_magnitude(Bits infinity, std::uint32_t key, Score score) {
    Bits low = 0, high = static_cast<Bits>(infinity + 1);
    while (low < high) {
        const auto middle = static_cast<Bits>(low + (high - low) / 2);
        if (rank_key(score(middle)) >= key)
            high = middle;
        else
            low = static_cast<Bits>(middle + 1);
    }
    return low;
}

// Cache lines of sums, one at a random place of each stride over all tensors; every scalar where there are few.
struct ScoreSample {
    static constexpr std::uint64_t line = 16;
    std::uint64_t stride;
    std::uint64_t lines;

    ScoreSample(std::uint64_t total, std::uint64_t most_lines) {
        constexpr std::uint64_t fewest = 512, scalars_a_line = 256;
        stride = std::max(line, total / std::clamp(total / scalars_a_line, fewest, most_lines));
        lines = (total + stride - 1) / stride;
    }

    SPEFT_HOST_DEVICE std::uint64_t size() const { return lines * line; }
    SPEFT_HOST_DEVICE std::uint64_t begin_of(std::uint64_t index) const {
        return index * stride + mix64(index) % (stride - line + 1);
    }
};

struct ScoreBracket {
    std::uint64_t bound_rank;  // which of the sample is the bound
    std::uint64_t capacity;    // how many survivors there is room for

    ScoreBracket(const speft_score *scores, std::uint64_t tensors, std::uint64_t total, std::uint64_t k,
                 const ScoreSample &sample) {
        const double scalars_a_sample = static_cast<double>(total) / static_cast<double>(sample.size());
        const double deviation = judge_deviation(scores, tensors);
        const double rank = widen(static_cast<double>(k) / scalars_a_sample, deviation);
        bound_rank = std::min(static_cast<std::uint64_t>(rank), sample.size());
        capacity = std::min(static_cast<std::uint64_t>(widen(rank, deviation) * scalars_a_sample), total);
    }

private:
    // How many times the deviation of independent draws that of a sample is: neighbours have like scores, and may have
    // about the same one where it comes from their row; then a line is worth one draw.
    static double judge_deviation(const speft_score *scores, std::uint64_t tensors) {
        static_assert(ScoreSample::line == 4 * 4);
        return std::any_of(scores, scores + tensors,
                           [](const speft_score &score) { return has_factors(score.formula); })
                   ? 4
                   : 2;
    }

    // What a count of which `expected` are expected exceeds about once in 30,000 times: four standard deviations more.
    static double widen(double expected, double deviation) {
        return expected + 4 * deviation * std::sqrt(expected) + 16;
    }
};

}  // namespace speft
