#include "core/selection/choose_masks.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/random.h"
#include "core/base/status.h"
#include "core/selection/budget.h"

namespace speft {
namespace {

// The sparse parameters by position, with what budgets are shared out by.
struct Targets {
    std::vector<std::size_t> positions;
    std::vector<std::uint64_t> sizes;
    std::vector<const char *> names;
};

Targets find_targets(const std::vector<Parameter> &parameters) {
    Targets targets;
    for (std::size_t position = 0; position < parameters.size(); ++position) {
        if (parameters[position].role != Role::sparse) continue;
        targets.positions.push_back(position);
        targets.sizes.push_back(parameters[position].size);
        targets.names.push_back(parameters[position].name.c_str());
    }
    return targets;
}

std::uint64_t sum_of(const std::vector<std::uint64_t> &values) {
    return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

// Counts by target become counts by parameter.
Masks divide(const SelectionInput &input, const Targets &targets, Buffer<std::uint32_t> indices,
             const std::vector<std::uint64_t> &counts) {
    std::vector<std::uint64_t> by_parameter(input.parameters.size());
    for (std::size_t target = 0; target < counts.size(); ++target)
        by_parameter[targets.positions[target]] = counts[target];
    return make_masks(input.parameters, std::move(indices), by_parameter);
}

void report(const speft_progress *progress, std::size_t done, std::size_t total) {
    if (progress && progress->report(progress->user, static_cast<std::int64_t>(done), static_cast<std::int64_t>(total)))
        throw Failure(SPEFT_CANCELLED, "the selection was cancelled by its progress callback");
}

// ---- random ----

Masks choose_random(Device &device, const SelectionOptions &options, const SelectionInput &input,
                    const Targets &targets, const speft_progress *progress) {
    const std::size_t count = targets.positions.size();
    std::vector<speft_select_random> draws(count);
    std::vector<std::uint64_t> counts(count);
    const bool bernoulli = options.random == SPEFT_RANDOM_BERNOULLI && options.density < 1;
    const std::vector<std::uint64_t> budgets =
        bernoulli ? std::vector<std::uint64_t>(count)
        : options.scope == SPEFT_SCOPE_GLOBAL
            ? share_out(global_budget(options, targets.sizes), targets.sizes)
            : per_tensor_budgets(options, targets.sizes, targets.names);
    for (std::size_t target = 0; target < count; ++target) {
        speft_select_random &draw = draws[target];
        draw.key = make_key(options.seed, targets.names[target]);
        draw.size = targets.sizes[target];
        draw.k = budgets[target];
        draw.count = &counts[target];
        if (bernoulli) {
            draw.threshold = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ldexp(options.density, 64)));
            device.run(draw);
            draw.k = counts[target];
        }
        counts[target] = draw.k;
    }
    if (sum_of(counts) == 0 && sum_of(targets.sizes) > 0)
        refuse("selection options: at density " + std::to_string(options.density) + " the draw selected no scalar");

    Buffer<std::uint32_t> indices(device, sum_of(counts));
    std::uint64_t offset = 0;
    for (std::size_t target = 0; target < count; ++target) {
        report(progress, target, count);
        if (draws[target].k == 0) continue;
        draws[target].indices = indices.data() + offset;
        device.run(draws[target]);
        offset += counts[target];
    }
    return divide(input, targets, std::move(indices), counts);
}

// ---- the user's own masks ----

Masks take_masks(Device &device, const SelectionInput &input, const Targets &targets) {
    std::vector<std::uint64_t> counts;
    for (const std::size_t position : targets.positions) {
        if (!input.given_masks[position])
            refuse_state("no mask was given for '" + input.parameters[position].name + "'");
        counts.push_back(input.given_masks[position]->size());
    }
    Buffer<std::uint32_t> indices(device, sum_of(counts));
    std::uint64_t offset = 0;
    for (std::size_t target = 0; target < counts.size(); ++target) {
        const std::vector<std::uint32_t> &mask = *input.given_masks[targets.positions[target]];
        device.copy_to_device(indices.data() + offset, mask.data(), mask.size() * sizeof(std::uint32_t));
        offset += counts[target];
    }
    return divide(input, targets, std::move(indices), counts);
}

// ---- the largest scores ----

std::vector<speft_score> describe_scores(const SelectionOptions &options, const SelectionInput &input,
                                         const Targets &targets) {
    if (needs_gradients(options.method) && input.observation.batches() == 0)
        refuse_state("the selection needs gradients, and no observation was finished");
    std::vector<speft_score> scores;
    for (const std::size_t position : targets.positions) {
        const Parameter &parameter = input.parameters[position];
        speft_score score{};
        score.weights = input.weights[position];
        score.weights_type = static_cast<std::int32_t>(parameter.type);
        score.count = parameter.size;
        score.total_weight = static_cast<float>(input.observation.total_weight());
        switch (options.method) {
        case SPEFT_SELECT_MAGNITUDE: score.formula = SPEFT_SCORE_ABS_WEIGHT; break;
        case SPEFT_SELECT_GRADIENT: score.formula = SPEFT_SCORE_ABS_GRADIENT; break;
        case SPEFT_SELECT_SNIP: score.formula = SPEFT_SCORE_ABS_PRODUCT; break;
        default: score.formula = SPEFT_SCORE_GIVEN; break;
        }
        if (needs_gradients(options.method)) score.sums = input.observation.sums(position);
        if (options.method == SPEFT_SELECT_GIVEN_SCORES) {
            if (parameter.size > 0 && !input.given_scores[position])
                refuse_state("no scores were given for '" + parameter.name + "'");
            score.sums = input.given_scores[position].data();
        }
        scores.push_back(score);
    }
    return scores;
}

void select_top(Device &device, const speft_score *scores, std::size_t tensors, std::uint64_t k,
                std::uint32_t *indices, std::uint64_t *counts, const std::string &whose,
                const speft_progress *progress) {
    std::uint64_t eligible = 0;
    device.run(speft_select_top{scores, tensors, k, indices, counts, &eligible, progress});
    if (eligible < k)
        refuse("only " + std::to_string(eligible) + " scores of " + whose + " are not NaN; " + std::to_string(k) +
               " scalars are to be selected");
}

Masks choose_top(Device &device, const SelectionOptions &options, const SelectionInput &input,
                 const Targets &targets, const speft_progress *progress) {
    const std::vector<speft_score> scores = describe_scores(options, input, targets);
    const std::size_t count = scores.size();
    if (options.scope == SPEFT_SCOPE_GLOBAL) {
        const std::uint64_t budget = global_budget(options, targets.sizes);
        std::vector<std::uint64_t> counts(count);
        Buffer<std::uint32_t> indices(device, budget);
        select_top(device, scores.data(), count, budget, indices.data(), counts.data(), "the sparse parameters",
                   progress);
        return divide(input, targets, std::move(indices), counts);
    }
    std::vector<std::uint64_t> counts = per_tensor_budgets(options, targets.sizes, targets.names);
    Buffer<std::uint32_t> indices(device, sum_of(counts));
    std::uint64_t offset = 0;
    for (std::size_t target = 0; target < count; ++target) {
        report(progress, target, count);
        if (counts[target] == 0) continue;
        const std::uint64_t budget = counts[target];
        select_top(device, &scores[target], 1, budget, indices.data() + offset, &counts[target],
                   std::string("'") + targets.names[target] + "'", nullptr);
        offset += budget;
    }
    return divide(input, targets, std::move(indices), counts);
}

}  // namespace

Masks choose_masks(Device &device, const SelectionOptions &options, const SelectionInput &input,
                   const speft_progress *progress) {
    const Targets targets = find_targets(input.parameters);
    if (sum_of(targets.sizes) == 0)
        return divide(input, targets, {}, std::vector<std::uint64_t>(targets.sizes.size()));
    switch (options.method) {
    case SPEFT_SELECT_RANDOM: return choose_random(device, options, input, targets, progress);
    case SPEFT_SELECT_GIVEN_MASK: return take_masks(device, input, targets);
    default: return choose_top(device, options, input, targets, progress);
    }
}

}  // namespace speft
