// How many scalars are selected: of all parameters together, or of each.
#pragma once

#include <cstdint>
#include <vector>

#include "core/selection/selection_options.h"

namespace speft {

// k = ⌊density·size + 1e-6⌋, at least 1; 0 of nothing.
std::uint64_t count_at_density(double density, std::uint64_t size);

// The budget over all sizes together (global scope), or of each size (per-tensor, one entry a size). Throws
// INVALID_ARGUMENT when a budget is more than there is; `names` says whose.
std::uint64_t global_budget(const SelectionOptions &options, const std::vector<std::uint64_t> &sizes);
std::vector<std::uint64_t> per_tensor_budgets(const SelectionOptions &options,
                                              const std::vector<std::uint64_t> &sizes,
                                              const std::vector<const char *> &names);

// `budget` shared out in proportion to `sizes`, exactly, by largest remainder; of equal remainders the first.
std::vector<std::uint64_t> share_out(std::uint64_t budget, const std::vector<std::uint64_t> &sizes);

}  // namespace speft
