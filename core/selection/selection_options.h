// How masks are chosen, checked by value.
#pragma once

#include <cstdint>

#include "core/selection/schedule.h"
#include "speft/selection.h"

namespace speft {

// Scores of the host's own; see speft_score_function.
struct ScoreFunction {
    decltype(speft_score_function::compute) compute = nullptr;
    void *user = nullptr;
};

struct SelectionOptions {
    std::int32_t method = SPEFT_SELECT_GRADIENT;
    std::int32_t scope = SPEFT_SCOPE_GLOBAL;
    std::int32_t random = SPEFT_RANDOM_EXACT;
    double density = 0;
    std::int64_t budget = 0;
    std::uint64_t seed = 0;
    std::int64_t rank = 0;
    std::int64_t model_scalars = 0;
    std::int64_t approximation_rank = 0;
    std::int32_t mean = SPEFT_MEAN_SIGNED;
    double threshold = 0;
    Schedule schedule;
    ScoreFunction score;  // no part of a file
};

// Throws INVALID_ARGUMENT for values that have no meaning, UNSUPPORTED for those that have none yet. `any_sparse`:
// whether there is a scalar to select, without which no budget is asked for.
void check_selection(const SelectionOptions &options, bool any_sparse);

// What observations add up to.
enum class Statistic {
    none,               // gradients are accepted and dropped
    mean,               // Σ w g
    mean_of_absolutes,  // Σ w |g|
    mean_of_squares,    // Σ w g², of one observation or of each example
    column_squares      // Σ w Σ_t x², for each input feature of a linear layer
};

Statistic statistic_of(const SelectionOptions &options);

// Whether each step's scalars are selected by its own gradient. The mask is empty at first, and grows.
bool selects_by_step(const SelectionOptions &options);

// Whether the method cannot do without an observation.
bool needs_observations(const SelectionOptions &options);

// Whether the masks are chosen by a draw, at the start at least.
bool starts_at_random(std::int32_t method);

}  // namespace speft
