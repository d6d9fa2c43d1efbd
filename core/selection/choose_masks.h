// From scores, seeds or the user's own choice to masks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/adapter/masks.h"
#include "core/selection/observation.h"
#include "core/selection/selection_options.h"

namespace speft {

// What a selection may draw on; a method takes what it needs.
struct SelectionInput {
    const std::vector<Parameter> &parameters;
    // Of a parameter, in its type, for as long as `room` lives; what lies otherwise is put in there.
    std::function<const void *(std::size_t parameter, Buffer<std::byte> &room)> weights;
    const Observation &observation;
    const std::vector<std::optional<std::vector<std::uint32_t>>> &given_masks;
    const std::vector<Buffer<float>> &given_scores;
    const std::vector<Buffer<std::byte>> &references;  // θ0 of weight-change, in the weights' types
    std::uint64_t round = 0;                           // how many selections were before this one
};

// Throws INVALID_STATE when something the method needs was not given, INVALID_ARGUMENT when the budget cannot be met,
// CANCELLED. `progress` may be NULL.
Masks choose_masks(Device &device, const SelectionOptions &options, const SelectionInput &input,
                   const speft_progress *progress);

// Bytes of scratch that choosing them takes; how many scalars are chosen, at their expected number for Bernoulli draws.
// Given masks have no number yet: INVALID_ARGUMENT.
std::uint64_t selection_scratch(const Device &device, const SelectionOptions &options,
                                const std::vector<Parameter> &parameters);
std::uint64_t count_selected(const SelectionOptions &options, const std::vector<Parameter> &parameters);

}  // namespace speft
