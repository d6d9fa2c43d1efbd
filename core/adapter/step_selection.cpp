// Masks of SparseGrad and MeProp: each step's scalars are the largest of its own gradient. The mask is the union of
// them all so far, and the gradient of a step 0 outside its own.
#include "core/adapter/adapter.h"

#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

namespace speft {
namespace {

// What a parameter whose gradient has not arrived would have is not given to others.
std::vector<std::uint64_t> step_budgets(const SelectionOptions &options, const std::vector<Target> &targets,
                                        const HeldGradients &held) {
    std::uint64_t arrived = 0;
    for (const Target &target : targets) arrived += held.present(target.position) ? target.size : 0;
    if (options.scope == SPEFT_SCOPE_GLOBAL) return {std::min(global_budget(options, targets), arrived)};
    std::vector<std::uint64_t> budgets = tensor_budgets(options, targets);
    for (std::size_t at = 0; at < targets.size(); ++at)
        if (!held.present(targets[at].position)) budgets[at] = 0;
    return budgets;
}

}  // namespace

void Adapter::hold(Training &state, std::size_t parameter, const Gradient &gradient) const {
    const Parameter &trained = parameters_[parameter];
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse("gradient of '" + trained.name +
               "': the step's scalars are selected by it, so it must be DENSE or ACTIVATIONS, of all scalars");
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (parameters_[index].role == Role::sparse && state.gradients.present(index))
            refuse_state("gradient of '" + trained.name +
                         "': the scalars of this step are selected already; speft_step or speft_clear_gradient comes "
                         "before another gradient");
    state.held->keep(parameter, state.held->prepare(device(), trained, parameter, gradient));
}

// The scalars of a step and their gradient, one a parameter that has some.
Adapter::StepScalars Adapter::choose_step(const HeldGradients &held) const {
    const SelectionOptions &options = options_.selection;
    const std::vector<Target> targets = find_targets(parameters_);
    const Ranked chosen = held.rank(
        device(), parameters_, targets, step_budgets(options, targets, held), nullptr,
        [&](std::size_t part, std::uint64_t eligible, std::uint64_t k) {
            refuse("only " + std::to_string(eligible) + " gradients of " +
                   (options.scope == SPEFT_SCOPE_GLOBAL ? "the sparse parameters" : "'" + targets[part].name + "'") +
                   " are not NaN; " + std::to_string(k) + " scalars are to be selected");
        });
    StepScalars step{std::vector<OwnedList>(parameters_.size()), std::vector<Buffer<float>>(parameters_.size())};
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const std::size_t index = targets[at].position;
        const std::uint64_t count = chosen.counts[at];
        step.lists[index] = {{device(), count}, count};
        step.values[index] = Buffer<float>::zeros(device(), count);
        if (count == 0) continue;
        device().copy_within(step.lists[index].buffer.data(), chosen.of(at), count * sizeof(std::uint32_t));
        held.gather(device(), index, chosen.of(at), count, step.values[index].data());
        if (options.threshold > 0) keep_above(step, index);
    }
    return step;
}

// k values, not N, by way of the host.
void Adapter::keep_above(StepScalars &step, std::size_t parameter) const {
    const IndexList list = step.lists[parameter].view();
    std::vector<float> values(static_cast<std::size_t>(list.count));
    device().copy_to_host(values.data(), step.values[parameter].data(), values.size() * sizeof(float));
    std::vector<std::uint32_t> positions;
    for (std::size_t at = 0; at < values.size(); ++at)
        if (std::abs(values[at]) >= static_cast<float>(options_.selection.threshold))
            positions.push_back(static_cast<std::uint32_t>(at));
    const Buffer<std::uint32_t> kept(device(), positions.size());
    device().copy_to_device(kept.data(), positions.data(), positions.size() * sizeof(std::uint32_t));
    Buffer<float> kept_values(device(), positions.size());
    take(device(), kept_values.data(), step.values[parameter].data(), kept.data(), positions.size(), sizeof(float));
    step.lists[parameter] = pick(device(), list, kept.data(), positions.size());
    step.values[parameter] = std::move(kept_values);
}

std::unique_ptr<Adapter::Training> Adapter::select_step(const Training &before) const {
    const SelectionOptions &options = options_.selection;
    const std::vector<Target> targets = find_targets(parameters_);
    const Masks &masks = before.active.masks;
    const StepScalars step = choose_step(*before.held);

    // ---- the mask ----
    std::vector<OwnedList> rest(parameters_.size()), selected(parameters_.size()), leaving(parameters_.size());
    std::uint64_t others = 0;
    for (const Target &target : targets) {
        const std::size_t index = target.position;
        const IndexList chosen = step.lists[index].view();
        rest[index] = subtract(device(), list_of(masks.slots[index]), chosen);
        selected[index] = unite(device(), list_of(masks.slots[index]), chosen);
        others += rest[index].count;
    }
    const auto limit = static_cast<std::uint64_t>(options.schedule.settled_limit);
    const bool drops = limit > 0 && others > limit;
    if (drops) {
        const ChangedWeights all = part_of(before.active, rest);
        std::vector<speft_score> scores;
        for (const Target &target : targets) {
            speft_score score = score_of(SPEFT_SCORE_NEGATIVE_ABS_WEIGHT, rest[target.position].count);
            score.weights = all.deltas.data(target.position);
            score.weights_type = static_cast<std::int32_t>(delta_type(target.position));
            scores.push_back(score);
        }
        const Ranked out = rank_scores(device(), scores, {others - limit}, "deltas");
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const std::size_t index = targets[at].position;
            leaving[index] = pick(device(), rest[index].view(), out.of(at), out.counts[at]);
            selected[index] = subtract(device(), selected[index].view(), leaving[index].view());
        }
    }
    std::unique_ptr<Training> after =
        make_moved_training(before, join(device(), parameters_, selected, DenseParameters::all));

    // ---- the gradient ----
    for (const Target &target : targets) {
        const std::size_t index = target.position;
        if (!before.held->present(index)) continue;
        const IndexList all = list_of(after->active.masks.slots[index]);
        const Buffer<float> spread = Buffer<float>::zeros(device(), all.count);
        const Buffer<std::uint32_t> positions = find_positions(device(), step.lists[index].view(), all);
        take(device(), spread.data(), step.values[index].data(), positions.data(), all.count, sizeof(float));
        after->gradients.put(device(), after->active.masks, index, spread.data());
    }
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (parameters_[index].role == Role::dense && before.gradients.present(index))
            after->gradients.put(device(), after->active.masks, index, before.gradients.values(masks, index));
    if (drops) restore_originals(segments_of(part_of(before.active, leaving)));
    return after;
}

}  // namespace speft
