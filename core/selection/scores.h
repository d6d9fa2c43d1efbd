// What each method ranks by: its formula, and what the formula points to.
#pragma once

#include <vector>

#include "core/selection/budget.h"
#include "core/selection/choose_masks.h"

namespace speft {

// The scores of some targets, and what they point to beside weights and observations for as long as they are ranked.
struct Scores {
    std::vector<speft_score> all;            // one a target
    std::vector<Buffer<float>> left, right;  // of low-rank
    std::vector<Buffer<float>> given;        // of a score function
    std::vector<Buffer<std::byte>> weights;  // of quantized ones, dequantized
};

// Throws INVALID_STATE when something the method needs was not given.
Scores make_scores(Device &device, const SelectionOptions &options, const SelectionInput &input,
                   const std::vector<Target> &targets);

// The same scores as far as sizes and types decide them; and the bytes that making them leaves and takes besides.
struct ScoresPlan {
    std::vector<speft_score> all;
    std::uint64_t kept = 0;
    std::uint64_t scratch = 0;
};
ScoresPlan plan_scores(const Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                       const std::vector<Target> &targets);

}  // namespace speft
