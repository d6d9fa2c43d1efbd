#include "core/selection/selection_options.h"

#include <cmath>
#include <string>

#include "core/base/status.h"
#include "core/selection/method_name.h"

namespace speft {

namespace {

void check_score_function(const SelectionOptions &options) {
    const bool wanted = options.method == SPEFT_SELECT_SCORE_FUNCTION;
    if (wanted && !options.score.compute)
        refuse("selection options: score must be a function where the method is a score function; got NULL");
    if (!wanted && options.score.compute)
        refuse(std::string("selection options: score is for the method of a score function; leave it NULL for ") +
               get_method_name(options.method));
}

void check_of_some_methods(const SelectionOptions &options) {
    const char *const name = get_method_name(options.method);
    if (options.mean != SPEFT_MEAN_SIGNED && options.mean != SPEFT_MEAN_OF_ABSOLUTES)
        refuse("selection options: mean must be SPEFT_MEAN_SIGNED or SPEFT_MEAN_OF_ABSOLUTES; got " +
               std::to_string(options.mean));
    if (options.mean == SPEFT_MEAN_OF_ABSOLUTES && options.method != SPEFT_SELECT_GRADIENT &&
        options.method != SPEFT_SELECT_SNIP)
        refuse(std::string("selection options: a mean of absolutes is for the gradient and snip; got it for ") + name);
    if (options.approximation_rank < 0)
        refuse("selection options: approximation_rank must be 1 or more; got " +
               std::to_string(options.approximation_rank));
    if (options.approximation_rank != 0 && options.method != SPEFT_SELECT_LOW_RANK)
        refuse(std::string("selection options: approximation_rank is for low-rank; leave it 0 for ") + name);
    if ((is_spiel(options.method) || selects_by_step(options)) && options.scope == SPEFT_SCOPE_PER_ROW)
        refuse(std::string("selection options: ") + name + " has a budget of all parameters or of each, none per row");
    if (!(options.threshold >= 0) || std::isinf(options.threshold))
        refuse("selection options: threshold must be finite and 0 or more; got " + std::to_string(options.threshold));
    if (options.threshold > 0 && !selects_by_step(options))
        refuse(std::string("selection options: threshold is for what each step selects; leave it 0 for ") + name);
    if (options.random == SPEFT_RANDOM_BERNOULLI && is_spiel(options.method))
        refuse(std::string("selection options: ") + name +
               " starts from exactly k random scalars, not from a Bernoulli draw");
}

}  // namespace

Statistic statistic_of(const SelectionOptions &options) {
    switch (options.method) {
    case SPEFT_SELECT_GRADIENT:
    case SPEFT_SELECT_SNIP:
        return options.mean == SPEFT_MEAN_OF_ABSOLUTES ? Statistic::mean_of_absolutes : Statistic::mean;
    case SPEFT_SELECT_FORCE:
    case SPEFT_SELECT_TAYLOR_FO:
    case SPEFT_SELECT_SYNFLOW:
    case SPEFT_SELECT_GRASP:
    case SPEFT_SELECT_GRASP_CODE:
    case SPEFT_SELECT_SCORE_FUNCTION: return Statistic::mean;
    case SPEFT_SELECT_FISHER: return Statistic::mean_of_squares;
    case SPEFT_SELECT_WANDA: return Statistic::column_squares;
    case SPEFT_SELECT_SPARSEGRAD:
    case SPEFT_SELECT_MEPROP: return selects_by_step(options) ? Statistic::none : Statistic::mean;
    default: return Statistic::none;
    }
}

bool selects_by_step(const SelectionOptions &options) {
    return is_by_step(options.method) && options.schedule.kind != SPEFT_SCHEDULE_NONE;
}

bool needs_observations(const SelectionOptions &options) {
    return options.method != SPEFT_SELECT_SCORE_FUNCTION && statistic_of(options) != Statistic::none;
}

bool starts_at_random(std::int32_t method) { return method == SPEFT_SELECT_RANDOM || is_spiel(method); }

void check_selection(const SelectionOptions &options, bool any_sparse) {
    if (options.method < SPEFT_SELECT_RANDOM || options.method > SPEFT_SELECT_SCORE_FUNCTION)
        refuse("selection options: method must be one of SPEFT_SELECT_…; got " + std::to_string(options.method));
    if (options.scope < SPEFT_SCOPE_GLOBAL || options.scope > SPEFT_SCOPE_PER_ROW)
        refuse("selection options: scope must be one of SPEFT_SCOPE_…; got " + std::to_string(options.scope));
    if (options.random != SPEFT_RANDOM_EXACT && options.random != SPEFT_RANDOM_BERNOULLI)
        refuse("selection options: random must be SPEFT_RANDOM_EXACT or SPEFT_RANDOM_BERNOULLI; got " +
               std::to_string(options.random));
    check_of_some_methods(options);
    check_score_function(options);
    check_schedule(options.method, options.schedule);

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
