#include "core/adapter/candidates.h"

#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "core/selection/budget.h"

namespace speft {

std::vector<std::uint64_t> candidate_budgets(const SelectionOptions &options,
                                             const std::vector<Parameter> &parameters) {
    const std::vector<Target> targets = find_targets(parameters);
    const auto limit = [](std::uint64_t wanted, std::uint64_t selected, std::uint64_t size, const std::string &whose) {
        if (selected > size - selected)
            refuse("selection options: " + std::to_string(selected) + " of the " + std::to_string(size) +
                   " scalars of " + whose + " are too many to select: spiel-ag first replaces all of them by others");
        if (wanted != 0 && wanted < selected)
            refuse("schedule options: candidates must be at least as many as are replaced; " +
                   std::to_string(selected) + " of " + whose + " are, and its share of the candidates is " +
                   std::to_string(wanted));
        return std::min(wanted == 0 ? selected : wanted, size - selected);
    };
    const auto candidates = static_cast<std::uint64_t>(options.schedule.candidates);
    if (options.scope == SPEFT_SCOPE_GLOBAL)
        return {limit(candidates, global_budget(options, targets), total_size(targets), "the sparse parameters")};
    const std::vector<std::uint64_t> selected = tensor_budgets(options, targets);
    const std::vector<std::uint64_t> shares = share_out(candidates, targets);
    std::vector<std::uint64_t> budgets;
    for (std::size_t at = 0; at < targets.size(); ++at)
        budgets.push_back(limit(shares[at], selected[at], targets[at].size, "parameter '" + targets[at].name + "'"));
    return budgets;
}

// ---- between steps ----

// What was summed before, as the host has scaled it, is copied into a new sum: until that is kept nothing has changed.
Candidates::Contribution Candidates::prepare(Device &device, const Parameter &parameter, std::size_t index,
                                             const Gradient &gradient) {
    Contribution made;
    if (parameter.size == 0) return made;
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse_state("gradient of '" + parameter.name +
                     "': in the window before a reselection of spiel-ag it must be DENSE or ACTIVATIONS: values of the "
                     "mask say nothing of the scalars outside it");
    if (!masks_) {
        made.all = held_.prepare(device, parameter, index, gradient);
        return made;
    }
    const Masks::Slot &slot = masks_->slots[index];
    const auto count = static_cast<std::uint64_t>(slot.count);
    made.values = Buffer<float>::zeros(device, count);
    const Brought &before = brought_[index];
    if (before.values && count > 0) device.run(sum_of(before.values, before.factor, made.values.data()));
    add_gradient(device, {made.values.data(), slot.indices, count}, gradient, 1.0);
    return made;
}

void Candidates::keep(std::size_t index, Contribution contribution) noexcept {
    if (!masks_)
        held_.keep(index, std::move(contribution.all));
    else
        brought_[index] = {true, std::move(contribution.values), 1};
}

void Candidates::clear(std::size_t index) {
    held_.clear(index);
    brought_[index] = {};
}

void Candidates::scale(std::size_t index, double factor) noexcept {
    held_.scale(index, factor);
    brought_[index].factor *= factor;
}

// ---- in a step ----

Masks Candidates::choose(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                         const Masks &selected) const {
    const std::vector<Target> targets = find_targets(parameters);
    for (const Target &target : targets)
        if (target.size > 0 && !held_.present(target.position))
            refuse_state("no gradient of '" + target.name +
                         "' has arrived in the first step of the window before a reselection");
    Ranked chosen = held_.rank(
        device, parameters, targets, candidate_budgets(options, parameters), &selected,
        [&](std::size_t part, std::uint64_t eligible, std::uint64_t k) {
            const bool global = options.scope == SPEFT_SCOPE_GLOBAL;
            refuse("only " + std::to_string(eligible) + " gradients of " +
                   (global ? "the sparse parameters" : "'" + targets[part].name + "'") +
                   " outside the masks are not NaN; " + std::to_string(k) + " candidates are to be chosen");
        });
    std::vector<std::uint64_t> by_parameter(parameters.size());
    for (std::size_t at = 0; at < targets.size(); ++at) by_parameter[targets[at].position] = chosen.counts[at];
    return make_masks(parameters, std::move(chosen.indices), by_parameter, DenseParameters::none);
}

Candidates::Step Candidates::take_step(Device &device, const SelectionOptions &options,
                                       const std::vector<Parameter> &parameters, const Masks &selected,
                                       double gradient_scale) const {
    Step step;
    if (!masks_) step.masks = choose(device, options, parameters, selected);
    const Masks &masks = masks_ ? *masks_ : *step.masks;
    step.sums = Buffer<float>::zeros(device, masks.trained);
    step.squares = Buffer<float>::zeros(device, masks.trained);
    if (masks_) {
        device.copy_within(step.sums.data(), sums_.data(), masks.trained * sizeof(float));
        device.copy_within(step.squares.data(), squares_.data(), masks.trained * sizeof(float));
    }
    step.values.resize(brought_.size());
    for (std::size_t index = 0; index < brought_.size(); ++index) {
        const Brought &brought = brought_[index];
        const Masks::Slot &slot = masks.slots[index];
        const auto count = static_cast<std::uint64_t>(slot.count);
        if (!(masks_ ? brought.present : held_.present(index)) || count == 0) continue;
        if (!masks_) {
            step.values[index] = Buffer<float>::zeros(device, count);
            held_.gather(device, index, slot.indices, count, step.values[index].data());
        }
        const Buffer<float> &gradient = masks_ ? brought.values : step.values[index];
        const double factor = (masks_ ? brought.factor : 1) * gradient_scale;
        speft_add_values add = sum_of(gradient, factor, step.sums.data() + slot.offset);
        device.run(add);
        add.sums = step.squares.data() + slot.offset;
        add.map = SPEFT_MAP_SQUARE;
        device.run(add);
    }
    return step;
}

void Candidates::keep(Step step) noexcept {
    if (step.masks) {
        masks_ = std::move(step.masks);
        for (std::size_t index = 0; index < brought_.size(); ++index) {
            brought_[index] = {held_.present(index) || brought_[index].present, std::move(step.values[index]), 1};
            held_.clear(index);
        }
    }
    sums_ = std::move(step.sums);
    squares_ = std::move(step.squares);
}

// ---- checkpoints ----

std::vector<CandidateRecord> Candidates::record(Device &device) const {
    if (!masks_) return {};
    std::vector<CandidateRecord> records;
    for (std::size_t index = 0; index < masks_->slots.size(); ++index) {
        const auto count = static_cast<std::size_t>(masks_->slots[index].count);
        CandidateRecord &record = records.emplace_back();
        record.indices.resize(count);
        record.sums.resize(count);
        record.squares.resize(count);
        device.copy_to_host(record.indices.data(), masks_->slots[index].indices, count * sizeof(std::uint32_t));
        device.copy_to_host(record.sums.data(), sums(index), count * sizeof(float));
        device.copy_to_host(record.squares.data(), squares(index), count * sizeof(float));
        if (!brought_[index].present) continue;
        record.gradient.resize(count);
        device.copy_to_host(record.gradient.data(), brought_[index].values.data(), count * sizeof(float));
        for (float &value : record.gradient) value *= static_cast<float>(brought_[index].factor);
    }
    return records;
}

void Candidates::restore(Device &device, const std::vector<Parameter> &parameters,
                         const std::vector<CandidateRecord> &records) {
    if (records.empty()) return;
    std::vector<std::uint64_t> counts;
    for (const CandidateRecord &record : records) counts.push_back(record.indices.size());
    Buffer<std::uint32_t> indices(device, std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
    Masks masks = make_masks(parameters, std::move(indices), counts, DenseParameters::none);
    Step step{{}, std::vector<Buffer<float>>(brought_.size()), {device, masks.trained}, {device, masks.trained}};
    for (std::size_t index = 0; index < records.size(); ++index) {
        const std::uint64_t offset = masks.slots[index].offset, bytes = counts[index] * sizeof(float);
        device.copy_to_device(masks.indices.data() + offset, records[index].indices.data(), bytes);
        device.copy_to_device(step.sums.data() + offset, records[index].sums.data(), bytes);
        device.copy_to_device(step.squares.data() + offset, records[index].squares.data(), bytes);
    }
    for (std::size_t index = 0; index < records.size(); ++index) {
        if (records[index].gradient.empty()) continue;
        step.values[index] = Buffer<float>(device, counts[index]);
        device.copy_to_device(step.values[index].data(), records[index].gradient.data(),
                              counts[index] * sizeof(float));
        brought_[index].present = true;
    }
    step.masks = std::move(masks);
    keep(std::move(step));
}

}  // namespace speft
