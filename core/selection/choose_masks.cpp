#include "core/selection/choose_masks.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/random.h"
#include "core/base/status.h"
#include "core/selection/budget.h"
#include "core/selection/scores.h"

namespace speft {
namespace {

using Targets = std::vector<Target>;

std::uint64_t sum_of(const std::vector<std::uint64_t> &values) {
    return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

// Counts by target become counts by parameter.
Masks divide(const SelectionInput &input, const Targets &targets, Buffer<std::uint32_t> indices,
             const std::vector<std::uint64_t> &counts) {
    std::vector<std::uint64_t> by_parameter(input.parameters.size());
    for (std::size_t target = 0; target < counts.size(); ++target)
        by_parameter[targets[target].position] = counts[target];
    return make_masks(input.parameters, std::move(indices), by_parameter);
}

void report(const speft_progress *progress, std::size_t done, std::size_t total) {
    if (progress && progress->report(progress->user, static_cast<std::int64_t>(done), static_cast<std::int64_t>(total)))
        throw Failure(SPEFT_CANCELLED, "the selection was cancelled by its progress callback");
}

// ---- random ----

// The draws of each target, k included where it is known beforehand.
std::vector<speft_select_random> describe_draws(const SelectionOptions &options, const Targets &targets,
                                                std::uint64_t round) {
    const double density = density_of_targets(options, targets);
    const bool bernoulli = options.random == SPEFT_RANDOM_BERNOULLI && density < 1;
    const bool by_row = options.scope == SPEFT_SCOPE_PER_ROW;
    const std::vector<std::uint64_t> budgets = options.scope == SPEFT_SCOPE_GLOBAL
                                                   ? share_out(global_budget(options, targets), targets)
                                                   : part_budgets(options, targets);
    const std::uint64_t seed = round == 0 ? options.seed : draw64(options.seed, round);
    std::vector<speft_select_random> draws(targets.size());
    for (std::size_t target = 0; target < targets.size(); ++target) {
        speft_select_random &draw = draws[target];
        const std::uint64_t rows = by_row && !bernoulli ? targets[target].rows : 1;
        draw.key = make_key(seed, targets[target].name);
        draw.rows = std::max<std::uint64_t>(rows, 1);
        draw.size = targets[target].size / draw.rows;
        draw.k = bernoulli || draw.size == 0 ? 0 : budgets[target];
        if (bernoulli) draw.threshold = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ldexp(density, 64)));
    }
    return draws;
}

Masks choose_random(Device &device, const SelectionOptions &options, const SelectionInput &input,
                    const Targets &targets, const speft_progress *progress) {
    const std::size_t count = targets.size();
    std::vector<speft_select_random> draws = describe_draws(options, targets, input.round);
    std::vector<std::uint64_t> counts(count);
    for (std::size_t target = 0; target < count; ++target) {
        speft_select_random &draw = draws[target];
        draw.count = &counts[target];
        if (draw.threshold != 0) {
            device.run(draw);
            draw.k = counts[target];
        }
        counts[target] = draw.rows * draw.k;
    }
    if (sum_of(counts) == 0)
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
    for (const Target &target : targets) {
        if (!input.given_masks[target.position]) refuse_state("no mask was given for '" + target.name + "'");
        counts.push_back(input.given_masks[target.position]->size());
    }
    Buffer<std::uint32_t> indices(device, sum_of(counts));
    std::uint64_t offset = 0;
    for (std::size_t target = 0; target < counts.size(); ++target) {
        const std::vector<std::uint32_t> &mask = *input.given_masks[targets[target].position];
        device.copy_to_device(indices.data() + offset, mask.data(), mask.size() * sizeof(std::uint32_t));
        offset += counts[target];
    }
    return divide(input, targets, std::move(indices), counts);
}

// ---- the largest scores ----

[[noreturn]] void refuse_few(std::uint64_t eligible, const std::string &whose, std::uint64_t k) {
    refuse("only " + std::to_string(eligible) + " scores of " + whose + " are not NaN; " + std::to_string(k) +
           " scalars are to be selected");
}

void select_top(Device &device, const speft_score *scores, std::size_t tensors, std::uint64_t k,
                std::uint32_t *indices, std::uint64_t *counts, const std::string &whose,
                const speft_progress *progress) {
    std::uint64_t eligible = 0;
    device.run(speft_select_top{scores, tensors, k, indices, counts, &eligible, progress});
    if (eligible < k) refuse_few(eligible, whose, k);
}

void select_rows(Device &device, const speft_score &score, const Target &target, std::uint64_t k,
                 std::uint32_t *indices) {
    std::uint64_t short_row = target.rows, eligible = 0;
    device.run(speft_select_rows{score, target.rows, k, indices, &short_row, &eligible, nullptr});
    if (short_row < target.rows)
        refuse_few(eligible, "row " + std::to_string(short_row) + " of '" + target.name + "'", k);
}

Masks choose_top(Device &device, const SelectionOptions &options, const SelectionInput &input,
                 const Targets &targets, const speft_progress *progress) {
    const std::size_t count = targets.size();
    std::vector<std::uint64_t> counts(count);
    Buffer<std::uint32_t> indices(device, total_budget(options, targets));
    if (options.scope == SPEFT_SCOPE_GLOBAL) {
        const Scores made = make_scores(device, options, input, targets);
        select_top(device, made.all.data(), count, indices.count(), indices.data(), counts.data(),
                   "the sparse parameters", progress);
        return divide(input, targets, std::move(indices), counts);
    }
    const bool by_row = options.scope == SPEFT_SCOPE_PER_ROW;
    const std::vector<std::uint64_t> budgets = part_budgets(options, targets);
    std::uint64_t offset = 0;
    for (std::size_t target = 0; target < count; ++target) {
        report(progress, target, count);
        if (targets[target].size == 0) continue;
        const Scores made = make_scores(device, options, input, {targets[target]});  // what they need is then freed
        const speft_score &score = made.all.front();
        if (by_row) {
            select_rows(device, score, targets[target], budgets[target], indices.data() + offset);
            counts[target] = targets[target].rows * budgets[target];
        } else {
            select_top(device, &score, 1, budgets[target], indices.data() + offset, &counts[target],
                       "'" + targets[target].name + "'", nullptr);
        }
        offset += counts[target];
    }
    return divide(input, targets, std::move(indices), counts);
}

}  // namespace

Masks choose_masks(Device &device, const SelectionOptions &options, const SelectionInput &input,
                   const speft_progress *progress) {
    const Targets targets = find_targets(input.parameters);
    if (total_size(targets) == 0 || selects_by_step(options))
        return divide(input, targets, {}, std::vector<std::uint64_t>(targets.size()));
    if (starts_at_random(options.method)) return choose_random(device, options, input, targets, progress);
    if (options.method == SPEFT_SELECT_GIVEN_MASK) return take_masks(device, input, targets);
    return choose_top(device, options, input, targets, progress);
}

std::uint64_t count_selected(const SelectionOptions &options, const std::vector<Parameter> &parameters) {
    if (options.method == SPEFT_SELECT_GIVEN_MASK)
        refuse("selection options: given masks have no size yet: plan for random masks of the same budget");
    const Targets targets = find_targets(parameters);
    return total_size(targets) == 0 ? 0 : total_budget(options, targets);
}

std::uint64_t selection_scratch(const Device &device, const SelectionOptions &options,
                                const std::vector<Parameter> &parameters) {
    const Targets targets = find_targets(parameters);
    if (total_size(targets) == 0 || selects_by_step(options)) return 0;
    std::uint64_t bytes = 0;
    const auto need = [&](const auto &arguments) { bytes = std::max(bytes, device.scratch_bytes(arguments)); };
    if (starts_at_random(options.method)) {
        for (const speft_select_random &draw : describe_draws(options, targets, 0)) need(draw);
        return bytes;
    }
    if (options.scope == SPEFT_SCOPE_GLOBAL) {
        const ScoresPlan plan = plan_scores(device, options, parameters, targets);
        bytes = plan.scratch;
        need(speft_select_top{plan.all.data(), plan.all.size(), global_budget(options, targets), nullptr, nullptr,
                              nullptr, nullptr});
        return plan.kept + bytes;
    }
    const bool by_row = options.scope == SPEFT_SCOPE_PER_ROW;
    const std::vector<std::uint64_t> budgets = part_budgets(options, targets);
    std::uint64_t kept = 0;
    for (std::size_t target = 0; target < targets.size(); ++target) {
        const ScoresPlan plan = plan_scores(device, options, parameters, {targets[target]});
        const speft_score &score = plan.all.front();
        kept = std::max(kept, plan.kept);
        bytes = std::max(bytes, plan.scratch);
        if (by_row)
            need(speft_select_rows{score, targets[target].rows, budgets[target], nullptr, nullptr, nullptr, nullptr});
        else
            need(speft_select_top{&score, 1, budgets[target], nullptr, nullptr, nullptr, nullptr});
    }
    return kept + bytes;
}

}  // namespace speft
