// How masks are chosen, checked by value.
#pragma once

#include <cstdint>

#include "speft/selection.h"

namespace speft {

struct SelectionOptions {
    std::int32_t method = SPEFT_SELECT_GRADIENT;
    std::int32_t scope = SPEFT_SCOPE_GLOBAL;
    std::int32_t random = SPEFT_RANDOM_EXACT;
    double density = 0;
    std::int64_t budget = 0;
    std::uint64_t seed = 0;
    std::int64_t rank = 0;
    std::int64_t model_scalars = 0;
};

// Throws INVALID_ARGUMENT for values that have no meaning, UNSUPPORTED for those that have none yet. `any_sparse`:
// whether there is a scalar to select, without which no budget is asked for.
void check_selection(const SelectionOptions &options, bool any_sparse);

// Whether the method ranks by gradients, so that it needs observations.
bool needs_gradients(std::int32_t method);

}  // namespace speft
