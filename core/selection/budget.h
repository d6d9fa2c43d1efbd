// How many scalars are selected: of all sparse parameters together, of each, or of each row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/adapter/parameter.h"
#include "core/selection/selection_options.h"

namespace speft {

// A sparse parameter, as far as budgets look at it.
struct Target {
    std::size_t position = 0;  // among all parameters
    std::string name;
    std::uint64_t size = 0;
    std::uint64_t rows = 0;  // of its first axis; 0 when it has fewer than 2 axes

    std::uint64_t columns() const { return rows == 0 ? 0 : size / rows; }
};

std::vector<Target> find_targets(const std::vector<Parameter> &parameters);
std::uint64_t total_size(const std::vector<Target> &targets);

// k = ⌊density·size + 1e-6⌋, at least 1; 0 of nothing.
std::uint64_t count_at_density(double density, std::uint64_t size);

// The density over the targets alone, where the options give it over the whole model. Throws INVALID_ARGUMENT when it
// is above 1.
double density_of_targets(const SelectionOptions &options, const std::vector<Target> &targets);

// The budget of all together, of each, or of each row of each (one entry a target). Throw INVALID_ARGUMENT, with the
// parameter's name, when a budget is more than there is, or when one without rows is asked for them.
std::uint64_t global_budget(const SelectionOptions &options, const std::vector<Target> &targets);
std::vector<std::uint64_t> tensor_budgets(const SelectionOptions &options, const std::vector<Target> &targets);
std::vector<std::uint64_t> row_budgets(const SelectionOptions &options, const std::vector<Target> &targets);

// Of each, or of each row of each, as a scope other than global says.
std::vector<std::uint64_t> part_budgets(const SelectionOptions &options, const std::vector<Target> &targets);

// How many scalars the scope's budgets come to; whether they can be met is checked on the way.
std::uint64_t total_budget(const SelectionOptions &options, const std::vector<Target> &targets);

// `budget` shared out in proportion to the targets' sizes, exactly, by largest remainder; of equal remainders the
// first.
std::vector<std::uint64_t> share_out(std::uint64_t budget, const std::vector<Target> &targets);

}  // namespace speft
