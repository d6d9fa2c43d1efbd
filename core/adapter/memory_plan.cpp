#include "core/adapter/memory_plan.h"

#include <algorithm>
#include <limits>

#include "core/selection/budget.h"

namespace speft {
namespace {

// The scratch of a gradient from activations in the weight's own type. `indices`: at a mask of this pointer, never
// looked through, or everywhere with NULL.
std::uint64_t product_scratch(const Device &device, const Parameter &parameter, std::uint64_t tokens,
                              const std::uint32_t *indices, std::uint64_t count) {
    if (parameter.shape.size() != 2 || parameter.size == 0 || count == 0) return 0;
    speft_add_product product{};
    product.indices = indices;
    product.count = count;
    product.tokens = tokens == 0 ? std::numeric_limits<std::uint32_t>::max() : tokens;
    product.out = static_cast<std::uint64_t>(parameter.shape[0]);
    product.in = static_cast<std::uint64_t>(parameter.shape[1]);
    product.x_type = product.dy_type = static_cast<std::int32_t>(parameter.type);
    product.layout = SPEFT_LAYOUT_OUT_IN;
    return device.scratch_bytes(product);
}

// Bytes a trained scalar takes before there is a gradient: its index where there is a mask, its original bits and its
// delta.
std::uint64_t kept_bytes(const Parameter &parameter, ScalarType delta_type) {
    const bool sparse = parameter.role == Role::sparse;
    return (sparse ? sizeof(std::uint32_t) : 0) + size_of(parameter.type) +
           size_of(sparse ? delta_type : ScalarType::float32);
}

// A gradient from activations, held until the candidates are chosen; and what choosing them by it takes.
struct Window {
    std::uint64_t held = 0;
    std::uint64_t scratch = 0;
};

Window plan_window(const Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                   std::uint64_t tokens) {
    const std::vector<Target> targets = find_targets(parameters);
    const std::vector<std::uint64_t> budgets = candidate_budgets(options, parameters);
    Window window;
    std::vector<speft_product_factors> parts(targets.size());
    std::vector<speft_product_score> scores(targets.size());
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const Parameter &parameter = parameters[targets[at].position];
        if (parameter.shape.size() != 2) {  // dense gradients, added up
            window.held += parameter.size * sizeof(float);
            continue;
        }
        parts[at].tokens = tokens;
        parts[at].x_type = parts[at].dy_type = static_cast<std::int32_t>(parameter.type);
        scores[at].parts = &parts[at];
        scores[at].count = 1;
        scores[at].out = static_cast<std::uint64_t>(parameter.shape[0]);
        scores[at].in = static_cast<std::uint64_t>(parameter.shape[1]);
        scores[at].layout = SPEFT_LAYOUT_OUT_IN;
        window.held += tokens * (scores[at].in + scores[at].out) * size_of(parameter.type);
    }
    const bool together = options.scope == SPEFT_SCOPE_GLOBAL;
    for (std::size_t part = 0; part < budgets.size(); ++part)
        window.scratch = std::max(
            window.scratch, device.scratch_bytes(speft_select_product{&scores[part], together ? scores.size() : 1,
                                                                      budgets[part], nullptr, nullptr, nullptr,
                                                                      nullptr}));
    return window;
}

// Bytes a candidate has in a window: index, gradient, its sum and that of its square; while a step is taken the sums
// are there twice.
constexpr std::uint64_t candidate_bytes = 4 * sizeof(float), candidate_step_bytes = 2 * sizeof(float);

}  // namespace

MemoryPlan plan_memory(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
                       std::uint64_t tokens) {
    check_adapter(options, parameters);
    const std::uint64_t selected = count_selected(options.selection, parameters);
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(options.optimizer, parameters);
    static const std::uint32_t some_mask = 0;

    const std::vector<Target> targets = find_targets(parameters);
    const bool observes = statistic_of(options.selection) != Statistic::none;
    std::uint64_t accumulators = 0, observing = 0, accumulating = 0;
    if (observes || options.selection.method == SPEFT_SELECT_GIVEN_SCORES)
        accumulators = total_size(targets) * sizeof(float);
    std::vector<std::uint64_t> counts;
    for (const Parameter &parameter : parameters) counts.push_back(parameter.size);
    // A target's share of the selected scalars is not known yet, but in proportion; only types hang on it.
    const std::vector<std::uint64_t> shares = share_out(selected, targets);
    for (std::size_t target = 0; target < targets.size(); ++target) {
        const Parameter &parameter = parameters[targets[target].position];
        counts[targets[target].position] = shares[target];
        if (observes)
            observing = std::max(observing, product_scratch(device, parameter, tokens, nullptr, parameter.size));
        accumulating = std::max(accumulating, product_scratch(device, parameter, tokens, &some_mask, shares[target]));
    }
    accumulating = std::max(accumulating, optimizer->scratch_bytes(device, counts));
    std::uint64_t kept = 0, training = 0;
    for (std::size_t position = 0; position < parameters.size(); ++position) {
        const std::uint64_t count = counts[position];
        kept += count * kept_bytes(parameters[position], options.delta_type);
        training += count * sizeof(float) + optimizer->state_bytes(count);
    }

    const Schedule schedule = complete_schedule(options.selection.method, options.selection.schedule);
    const bool moves = schedule.reselect_every > 0 && selected > 0, spiel = is_spiel(options.selection.method);
    std::uint64_t each = 0;  // what is kept of all selected scalars
    for (std::size_t at = 0; at < targets.size(); ++at)
        each += shares[at] * kept_bytes(parameters[targets[at].position], options.delta_type);
    std::uint64_t candidates = 0, window_peak = 0, settled = 0;
    if (options.selection.method == SPEFT_SELECT_SPIEL_AG && selected > 0) {
        for (const std::uint64_t budget : candidate_budgets(options.selection, parameters)) candidates += budget;
        const Window window = plan_window(device, options.selection, parameters, tokens == 0 ? 2048 : tokens);
        window_peak = std::max(window.held + std::max(window.scratch, candidates * candidate_bytes),
                               candidates * (candidate_bytes + candidate_step_bytes));
    } else if (moves && !spiel) {
        settled = each;
        if (schedule.settled_limit > 0)
            settled = each * std::min(static_cast<std::uint64_t>(schedule.settled_limit), selected) / selected;
    }
    if (schedule.drop == SPEFT_DROP_CHANGE) training += selected * sizeof(float);
    // Rows and columns move with the optimizer; tables of corrections are shared.
    const bool factored = options.optimizer.kind == SPEFT_OPTIMIZER_SM3 ||
                          options.optimizer.kind == SPEFT_OPTIMIZER_ADAFACTOR;
    const std::uint64_t moved_tables = factored ? optimizer->table_bytes() : 0;

    MemoryPlan plan;
    plan.observation = (observes ? 2 : 1) * accumulators + observing;
    plan.announced_observation = accumulators + observing;
    plan.selection = accumulators + kept +
                     std::max(observing, selection_scratch(device, options.selection, parameters));
    const std::uint64_t steady = kept + training + optimizer->table_bytes() + settled;
    plan.training = steady + std::max(accumulating + candidates * candidate_bytes, window_peak);
    if (moves) {
        // The training before and after side by side, with lists of what is dropped, grown, kept and where it was.
        const std::uint64_t lists = selected * sizeof(std::uint32_t);
        plan.reselection = steady + candidates * candidate_bytes + kept + training + moved_tables - selected * sizeof(float) +
                           (spiel ? 6 * lists + each : 5 * lists + settled + plan.observation);
    }
    return plan;
}

}  // namespace speft
