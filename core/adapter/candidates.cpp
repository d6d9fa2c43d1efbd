#include "core/adapter/candidates.h"

#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "core/selection/budget.h"

namespace speft {
namespace {

Buffer<std::byte> copy_of(Device &device, TensorView &view) {
    const std::uint64_t bytes = view.size * (view.dtype.bits / 8u);
    Buffer<std::byte> copy(device, bytes);
    if (bytes > 0) device.copy_within(copy.data(), view.data, bytes);
    view.data = copy.data();
    return copy;
}

// Of targets, in the order of the ranking.
struct Chosen {
    Buffer<std::uint32_t> indices;
    std::vector<std::uint64_t> counts;
};

[[noreturn]] void refuse_few(std::uint64_t eligible, const std::string &whose, std::uint64_t k) {
    refuse("only " + std::to_string(eligible) + " gradients of " + whose +
           " outside the masks are not NaN; " + std::to_string(k) + " candidates are to be chosen");
}

// rank(first, count, k, indices, counts, eligible) runs a selection over targets [first, first + count).
template <class Rank>
Chosen choose_by(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                 const std::vector<Target> &targets, Rank &&rank) {
    const std::vector<std::uint64_t> budgets = candidate_budgets(options, parameters);
    Chosen chosen{{device, std::accumulate(budgets.begin(), budgets.end(), std::uint64_t{0})},
                  std::vector<std::uint64_t>(targets.size())};
    const bool global = options.scope == SPEFT_SCOPE_GLOBAL;
    std::uint64_t offset = 0;
    for (std::size_t part = 0; part < budgets.size(); ++part) {
        if (budgets[part] == 0) continue;
        std::uint64_t eligible = 0;
        rank(part, global ? targets.size() : 1, budgets[part], chosen.indices.data() + offset,
             chosen.counts.data() + part, &eligible);
        if (eligible < budgets[part])
            refuse_few(eligible, global ? "the sparse parameters" : "'" + targets[part].name + "'", budgets[part]);
        offset += budgets[part];
    }
    return chosen;
}

}  // namespace

std::vector<std::uint64_t> candidate_budgets(const SelectionOptions &options,
                                             const std::vector<Parameter> &parameters) {
    const std::vector<Target> targets = find_targets(parameters);
    const auto limit = [](std::uint64_t wanted, std::uint64_t selected, std::uint64_t size, const std::string &whose) {
        if (selected > size - selected)
            refuse(whose + " too small for its share: " + std::to_string(selected) + " of " + std::to_string(size) +
                   " scalars are selected, and spiel-ag first replaces all of them");
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

void Candidates::add_at(Device &device, const Masks &masks, std::size_t index, const Gradient &gradient,
                        Buffer<float> &values) {
    const Masks::Slot &slot = masks.slots[index];
    add_gradient(device, {values.data() + slot.offset, slot.indices, static_cast<std::uint64_t>(slot.count)}, gradient,
                 1.0);
}

void Candidates::add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient) {
    if (parameter.role == Role::dense || parameter.size == 0) return;
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse_state("gradient of '" + parameter.name +
                     "': in the window before a reselection of spiel-ag it must be DENSE or ACTIVATIONS: values of the "
                     "mask say nothing of the scalars outside it");
    if (masks_) {
        const Masks::Slot &slot = masks_->slots[index];
        if (!present_[index] && slot.count > 0)
            device.zero(gradient_.data() + slot.offset, static_cast<std::uint64_t>(slot.count) * sizeof(float));
        add_at(device, *masks_, index, gradient, gradient_);
    } else if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        Activations copy{{}, {}, gradient};
        copy.x = copy_of(device, copy.gradient.x);
        copy.dy = copy_of(device, copy.gradient.dy);
        held_[index].activations.push_back(std::move(copy));
    } else {
        Buffer<float> &dense = held_[index].dense;
        if (!dense) dense = Buffer<float>::zeros(device, parameter.size);
        add_gradient(device, {dense.data(), nullptr, parameter.size}, gradient, 1.0);
    }
    present_[index] = true;
}

void Candidates::clear(std::size_t index) {
    held_[index] = {};
    present_[index] = false;
}

bool Candidates::holds() const {
    return !masks_ && std::find(present_.begin(), present_.end(), true) != present_.end();
}

void Candidates::scale(Device &device, std::size_t index, double factor) {
    if (!present_[index]) return;
    const auto scale_values = [&](float *values, std::uint64_t count) {
        if (count > 0) device.run(speft_scale{&values, &count, 1, static_cast<float>(factor)});
    };
    if (masks_) {
        const Masks::Slot &slot = masks_->slots[index];
        scale_values(gradient_.data() + slot.offset, static_cast<std::uint64_t>(slot.count));
        return;
    }
    for (Activations &activations : held_[index].activations) activations.gradient.scale *= factor;
    if (held_[index].dense) scale_values(held_[index].dense.data(), held_[index].dense.count());
}

// ---- in a step ----

Masks Candidates::choose(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                         const Masks &selected) const {
    const std::vector<Target> targets = find_targets(parameters);
    bool all_activations = true;
    for (const Target &target : targets) {
        if (target.size == 0) continue;
        if (!present_[target.position])
            refuse_state("no gradient of '" + target.name +
                         "' has arrived in the first step of the window before a reselection");
        all_activations = all_activations && !held_[target.position].dense;
    }
    Chosen chosen;
    if (all_activations) {
        std::vector<std::vector<speft_product_factors>> parts(targets.size());
        std::vector<speft_product_score> scores(targets.size());
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const Parameter &parameter = parameters[targets[at].position];
            const Masks::Slot &slot = selected.slots[targets[at].position];
            const auto &all = held_[targets[at].position].activations;
            for (const Activations &held : all) parts[at].push_back(factors_of(held.gradient));
            scores[at].parts = parts[at].data();
            scores[at].count = parts[at].size();
            if (parameter.size > 0) {
                scores[at].layout = all.front().gradient.layout;
                const bool out_in = scores[at].layout == SPEFT_LAYOUT_OUT_IN;
                scores[at].in = static_cast<std::uint64_t>(parameter.shape[out_in ? 1 : 0]);
                scores[at].out = static_cast<std::uint64_t>(parameter.shape[out_in ? 0 : 1]);
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
            const Held &held = held_[targets[at].position];
            const std::uint64_t size = targets[at].size;
            const Masks::Slot &slot = selected.slots[targets[at].position];
            if (held.activations.empty()) {
                scores[at].sums = held.dense.data();
            } else {
                sums.push_back(Buffer<float>::zeros(device, size));
                if (held.dense) device.copy_within(sums.back().data(), held.dense.data(), size * sizeof(float));
                for (const Activations &part : held.activations)
                    add_gradient(device, {sums.back().data(), nullptr, size}, part.gradient, 1.0);
                scores[at].sums = sums.back().data();
            }
            scores[at].formula = SPEFT_SCORE_ABS_GRADIENT;
            scores[at].count = size;
            scores[at].total_weight = 1;
            scores[at].rank = 1;
            scores[at].columns = 1;
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
    } else {
        step.gradient = Buffer<float>::zeros(device, masks.trained);
        for (std::size_t index = 0; index < held_.size(); ++index) {
            for (const Activations &part : held_[index].activations)
                add_at(device, masks, index, part.gradient, step.gradient);
            if (!held_[index].dense) continue;
            Gradient dense;
            dense.kind = SPEFT_GRADIENT_DENSE;
            dense.dense = {held_[index].dense.data(), device.location(), dtype_of(ScalarType::float32),
                           parameters[index].shape, parameters[index].size};
            add_at(device, masks, index, dense, step.gradient);
        }
    }
    const float *const gradient = masks_ ? gradient_.data() : step.gradient.data();
    for (std::size_t index = 0; index < present_.size(); ++index) {
        const Masks::Slot &slot = masks.slots[index];
        if (!present_[index] || slot.count == 0) continue;
        speft_add_values add{};
        add.sums = step.sums.data() + slot.offset;
        add.source = gradient + slot.offset;
        add.count = static_cast<std::uint64_t>(slot.count);
        add.source_type = SPEFT_SCALAR_FLOAT32;
        add.scale = static_cast<float>(gradient_scale);
        add.weight = 1;
        device.run(add);
        add.sums = step.squares.data() + slot.offset;
        add.map = SPEFT_MAP_SQUARE;
        device.run(add);
    }
    return step;
}

void Candidates::keep(Step step) {
    if (step.masks) {
        masks_ = std::move(step.masks);
        gradient_ = std::move(step.gradient);
        for (Held &held : held_) held = {};
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
    Step step{{}, Buffer<float>::zeros(device, masks.trained), {device, masks.trained}, {device, masks.trained}};
    for (std::size_t index = 0; index < records.size(); ++index) {
        const std::uint64_t offset = masks.slots[index].offset, bytes = counts[index] * sizeof(float);
        device.copy_to_device(masks.indices.data() + offset, records[index].indices.data(), bytes);
        device.copy_to_device(step.sums.data() + offset, records[index].sums.data(), bytes);
        device.copy_to_device(step.squares.data() + offset, records[index].squares.data(), bytes);
    }
    step.masks = std::move(masks);
    keep(std::move(step));
}

}  // namespace speft
