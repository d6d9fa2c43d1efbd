#include "core/selection/selection_options.h"

#include <string>

#include "core/base/status.h"
#include "core/selection/method_name.h"

namespace speft {

bool needs_gradients(std::int32_t method) {
    return method == SPEFT_SELECT_GRADIENT || method == SPEFT_SELECT_SNIP;
}

void check_selection(const SelectionOptions &options, bool any_sparse) {
    if (options.method < SPEFT_SELECT_RANDOM || options.method > SPEFT_SELECT_MEPROP)
        refuse("selection options: method must be one of SPEFT_SELECT_…; got " + std::to_string(options.method));
    if (options.method > SPEFT_SELECT_GIVEN_SCORES)
        refuse_unsupported(std::string("selection options: method ") + get_method_name(options.method) +
                           " is not in this version");
    if (options.scope < SPEFT_SCOPE_GLOBAL || options.scope > SPEFT_SCOPE_PER_ROW)
        refuse("selection options: scope must be one of SPEFT_SCOPE_…; got " + std::to_string(options.scope));
    if (options.random != SPEFT_RANDOM_EXACT && options.random != SPEFT_RANDOM_BERNOULLI)
        refuse("selection options: random must be SPEFT_RANDOM_EXACT or SPEFT_RANDOM_BERNOULLI; got " +
               std::to_string(options.random));

    const bool has_density = options.density != 0, has_budget = options.budget != 0, has_rank = options.rank != 0;
    if (has_density && !(options.density > 0 && options.density <= 1))
        refuse("selection options: density must be in (0, 1]; got " + std::to_string(options.density));
    if (options.budget < 0)
        refuse("selection options: budget must be 1 or more; got " + std::to_string(options.budget));
    if (options.rank < 0) refuse("selection options: rank must be 1 or more; got " + std::to_string(options.rank));
    if (options.model_scalars < 0)
        refuse("selection options: model_scalars must be 0 or more; got " + std::to_string(options.model_scalars));
    if (options.model_scalars > 0 && !has_density)
        refuse("selection options: model_scalars says of what density is a fraction, and density is 0; got " +
               std::to_string(options.model_scalars));
    if (options.method == SPEFT_SELECT_GIVEN_MASK) {
        if (has_density || has_budget || has_rank)
            refuse("selection options: given masks have their own size: leave density, budget and rank at 0");
        return;
    }
    if (has_density + has_budget + has_rank > 1)
        refuse("selection options: set one of density, budget and rank; got density " +
               std::to_string(options.density) + ", budget " + std::to_string(options.budget) + ", rank " +
               std::to_string(options.rank));
    if (any_sparse && !has_density && !has_budget && !has_rank)
        refuse("selection options: density must be in (0, 1], or budget or rank 1 or more; all are 0");
    if (has_rank && options.scope == SPEFT_SCOPE_PER_ROW)
        refuse("selection options: a rank counts whole parameters: give density or budget for per-row masks");
    if (options.method == SPEFT_SELECT_RANDOM && options.random == SPEFT_RANDOM_BERNOULLI &&
        (has_budget || has_rank))
        refuse("selection options: a Bernoulli mask has no fixed size: give density, not budget or rank");
}

}  // namespace speft
