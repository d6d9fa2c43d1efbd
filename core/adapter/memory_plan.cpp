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

    MemoryPlan plan;
    plan.observation = (observes ? 2 : 1) * accumulators + observing;
    plan.announced_observation = accumulators + observing;
    plan.selection = accumulators + kept +
                     std::max(observing, selection_scratch(device, options.selection, parameters));
    plan.training = kept + training + accumulating + optimizer->table_bytes();
    return plan;
}

}  // namespace speft
