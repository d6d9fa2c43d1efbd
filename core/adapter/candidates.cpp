#include "core/adapter/candidates.h"

#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

namespace speft {
namespace {

Buffer<std::byte> copy_of(Device &device, TensorView &view) {
    const std::uint64_t bytes = view.size * (view.dtype.bits / 8u);
    Buffer<std::byte> copy(device, bytes);
    if (bytes > 0) device.copy_within(copy.data(), view.data, bytes);
    view.data = copy.data();
    return copy;
}

// target += factor · values
speft_add_values sum_of(const Buffer<float> &values, double factor, float *target) {
    speft_add_values add{};
    add.sums = target;
    add.source = values.data();
    add.count = values.count();
    add.source_type = SPEFT_SCALAR_FLOAT32;
    add.scale = static_cast<float>(factor);
    add.weight = 1;
    return add;
}

// A weight that lies [in, out] is one that lies [out, in] of the layer with x and dy exchanged; so contributions of
// either kind add up.
speft_product_factors out_in_factors(const Gradient &gradient) {
    speft_product_factors factors = factors_of(gradient);
    if (gradient.layout == SPEFT_LAYOUT_IN_OUT) {
        std::swap(factors.x, factors.dy);
        std::swap(factors.x_type, factors.dy_type);
    }
    return factors;
}

// run(first, count, k, indices, counts, eligible) ranks targets [first, first + count).
template <class Run>
Ranked choose_by(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                 const std::vector<Target> &targets, Run &&run) {
    return rank_on_budgets(device, targets.size(), candidate_budgets(options, parameters), run,
                           [&](std::size_t part, std::uint64_t eligible, std::uint64_t k) {
                               const bool global = options.scope == SPEFT_SCOPE_GLOBAL;
                               refuse("only " + std::to_string(eligible) + " gradients of " +
                                      (global ? "the sparse parameters" : "'" + targets[part].name + "'") +
                                      " outside the masks are not NaN; " + std::to_string(k) +
                                      " candidates are to be chosen");
                           });
}

}  // namespace

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
    if (parameter.role == Role::dense || parameter.size == 0) return made;
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse_state("gradient of '" + parameter.name +
                     "': in the window before a reselection of spiel-ag it must be DENSE or ACTIVATIONS: values of the "
                     "mask say nothing of the scalars outside it");
    Brought &before = brought_[index];
    if (!masks_ && gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        made.activations.emplace(Activations{{}, {}, gradient});
        made.activations->x = copy_of(device, made.activations->gradient.x);
        made.activations->dy = copy_of(device, made.activations->gradient.dy);
        before.activations.reserve(before.activations.size() + 1);
        return made;
    }
    GradientTarget target{nullptr, nullptr, parameter.size};
    if (masks_) {
        target.indices = masks_->slots[index].indices;
        target.count = static_cast<std::uint64_t>(masks_->slots[index].count);
    }
    made.values = Buffer<float>::zeros(device, target.count);
    target.sums = made.values.data();
    if (before.values && target.count > 0) device.run(sum_of(before.values, before.factor, target.sums));
    add_gradient(device, target, gradient, 1.0);
    return made;
}

void Candidates::keep(std::size_t index, Contribution contribution) noexcept {
    Brought &brought = brought_[index];
    if (contribution.activations) {
        brought.activations.push_back(std::move(*contribution.activations));  // there is room
    } else if (contribution.values) {
        brought.values = std::move(contribution.values);
        brought.factor = 1;
    } else {
        return;  // a dense parameter has no candidates
    }
    brought.present = true;
}

bool Candidates::holds() const {
    return !masks_ && std::any_of(brought_.begin(), brought_.end(),
                                  [](const Brought &brought) { return brought.present; });
}

void Candidates::scale(std::size_t index, double factor) noexcept {
    brought_[index].factor *= factor;
    for (Activations &activations : brought_[index].activations) activations.gradient.scale *= factor;
}

// ---- in a step ----

Masks Candidates::choose(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                         const Masks &selected) const {
    const std::vector<Target> targets = find_targets(parameters);
    bool all_activations = true;
    for (const Target &target : targets) {
        if (target.size == 0) continue;
        if (!brought_[target.position].present)
            refuse_state("no gradient of '" + target.name +
                         "' has arrived in the first step of the window before a reselection");
        all_activations = all_activations && !brought_[target.position].values;
    }
    Ranked chosen;
    if (all_activations) {
        std::vector<std::vector<speft_product_factors>> parts(targets.size());
        std::vector<speft_product_score> scores(targets.size());
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const Parameter &parameter = parameters[targets[at].position];
            const Masks::Slot &slot = selected.slots[targets[at].position];
            const auto &all = brought_[targets[at].position].activations;
            for (const Activations &held : all) parts[at].push_back(out_in_factors(held.gradient));
            scores[at].parts = parts[at].data();
            scores[at].count = parts[at].size();
            scores[at].layout = SPEFT_LAYOUT_OUT_IN;
            if (parameter.size > 0) {
                scores[at].out = static_cast<std::uint64_t>(parameter.shape[0]);
                scores[at].in = static_cast<std::uint64_t>(parameter.shape[1]);
            }
            scores[at].excluded = slot.indices;
            scores[at].excluded_count = static_cast<std::uint64_t>(slot.count);
        }
        chosen = choose_by(device, options, parameters, targets,
                           [&](std::size_t first, std::size_t count, std::uint64_t k, std::uint32_t *indices,
                               std::uint64_t *counts, std::uint64_t *eligible) {
                               device.run(speft_select_product{scores.data() + first, count, k, indices, counts,
                                                               eligible, nullptr});
                           });
    } else {
        // Some came dense: one ranking needs all of them in one form.
        std::vector<Buffer<float>> sums;
        std::vector<speft_score> scores(targets.size());
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const Brought &brought = brought_[targets[at].position];
            const std::uint64_t size = targets[at].size;
            const Masks::Slot &slot = selected.slots[targets[at].position];
            scores[at] = score_of(SPEFT_SCORE_ABS_GRADIENT, size);
            if (size == 0) continue;
            if (brought.activations.empty() && brought.factor == 1) {
                scores[at].sums = brought.values.data();
            } else {
                sums.push_back(Buffer<float>::zeros(device, size));
                if (brought.values) device.run(sum_of(brought.values, brought.factor, sums.back().data()));
                for (const Activations &part : brought.activations)
                    add_gradient(device, {sums.back().data(), nullptr, size}, part.gradient, 1.0);
                scores[at].sums = sums.back().data();
            }
            scores[at].excluded = slot.indices;
            scores[at].excluded_count = static_cast<std::uint64_t>(slot.count);
        }
        chosen = choose_by(device, options, parameters, targets,
                           [&](std::size_t first, std::size_t count, std::uint64_t k, std::uint32_t *indices,
                               std::uint64_t *counts, std::uint64_t *eligible) {
                               device.run(speft_select_top{scores.data() + first, count, k, indices, counts, eligible,
                                                           nullptr});
                           });
    }
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
        if (!brought.present || count == 0) continue;
        if (!masks_) {
            step.values[index] = Buffer<float>::zeros(device, count);
            const GradientTarget target{step.values[index].data(), slot.indices, count};
            for (const Activations &part : brought.activations) add_gradient(device, target, part.gradient, 1.0);
            if (brought.values) {
                speft_add_values gathered = sum_of(brought.values, brought.factor, target.sums);
                gathered.indices = target.indices;
                gathered.count = count;
                device.run(gathered);
            }
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
            brought_[index].activations.clear();
            brought_[index].values = std::move(step.values[index]);
            brought_[index].factor = 1;
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
