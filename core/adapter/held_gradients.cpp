#include "core/adapter/held_gradients.h"

#include <algorithm>
#include <utility>

namespace speft {
namespace {

Buffer<std::byte> copy_of(Device &device, TensorView &view) {
    const std::uint64_t bytes = view.size * (view.dtype.bits / 8u);
    Buffer<std::byte> copy(device, bytes);
    if (bytes > 0) device.copy_within(copy.data(), view.data, bytes);
    view.data = copy.data();
    return copy;
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

}  // namespace

// What was summed before, as the host has scaled it, is copied into a new sum: until that is kept nothing has changed.
HeldGradients::Contribution HeldGradients::prepare(Device &device, const Parameter &parameter, std::size_t index,
                                                   const Gradient &gradient) {
    Contribution made;
    Held &before = held_[index];
    if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        Activations &activations = made.activations.emplace_back(Activations{{}, {}, gradient});
        activations.x = copy_of(device, activations.gradient.x);
        activations.dy = copy_of(device, activations.gradient.dy);
        before.activations.reserve(before.activations.size() + 1);
        return made;
    }
    made.values = Buffer<float>::zeros(device, parameter.size);
    if (before.values && parameter.size > 0) device.run(sum_of(before.values, before.factor, made.values.data()));
    add_gradient(device, {made.values.data(), nullptr, parameter.size}, gradient, 1.0);
    return made;
}

void HeldGradients::keep(std::size_t index, Contribution contribution) noexcept {
    Held &held = held_[index];
    held.present = true;
    if (!contribution.activations.empty()) {
        held.activations.push_back(std::move(contribution.activations.front()));  // there is room
        return;
    }
    held.values = std::move(contribution.values);
    held.factor = 1;
}

void HeldGradients::scale(std::size_t index, double factor) noexcept {
    held_[index].factor *= factor;
    for (Activations &activations : held_[index].activations) activations.gradient.scale *= factor;
}

bool HeldGradients::any() const {
    return std::any_of(held_.begin(), held_.end(), [](const Held &held) { return held.present; });
}

Ranked HeldGradients::rank(Device &device, const std::vector<Parameter> &parameters,
                           const std::vector<Target> &targets, const std::vector<std::uint64_t> &budgets,
                           const Masks *excluded, const Refuse &refuse) const {
    const auto mask_of = [&](std::size_t at) {
        return excluded ? excluded->slots[targets[at].position] : Masks::Slot{};
    };
    const bool all_activations = std::none_of(targets.begin(), targets.end(), [&](const Target &target) {
        return bool(held_[target.position].values);
    });
    if (all_activations) {
        std::vector<std::vector<speft_product_factors>> parts(targets.size());
        std::vector<speft_product_score> scores(targets.size());
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const Parameter &parameter = parameters[targets[at].position];
            const Held &held = held_[targets[at].position];
            for (const Activations &part : held.activations) parts[at].push_back(out_in_factors(part.gradient));
            scores[at].parts = parts[at].data();
            scores[at].count = parts[at].size();
            scores[at].layout = SPEFT_LAYOUT_OUT_IN;
            if (parameter.size > 0 && held.present) {
                scores[at].out = static_cast<std::uint64_t>(parameter.shape[0]);
                scores[at].in = static_cast<std::uint64_t>(parameter.shape[1]);
            }
            scores[at].excluded = mask_of(at).indices;
            scores[at].excluded_count = static_cast<std::uint64_t>(mask_of(at).count);
        }
        return rank_on_budgets(
            device, targets.size(), budgets,
            [&](std::size_t first, std::size_t count, std::uint64_t k, std::uint32_t *indices, std::uint64_t *counts,
                std::uint64_t *eligible) {
                device.run(speft_select_product{scores.data() + first, count, k, indices, counts, eligible, nullptr});
            },
            refuse);
    }
    // Some came dense: one ranking needs all of them in one form.
    std::vector<Buffer<float>> sums;
    std::vector<speft_score> scores(targets.size());
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const Held &held = held_[targets[at].position];
        const std::uint64_t size = held.present ? targets[at].size : 0;
        scores[at] = score_of(SPEFT_SCORE_ABS_GRADIENT, size);
        if (size == 0) continue;
        if (held.activations.empty() && held.factor == 1) {
            scores[at].sums = held.values.data();
        } else {
            sums.push_back(Buffer<float>::zeros(device, size));
            if (held.values) device.run(sum_of(held.values, held.factor, sums.back().data()));
            for (const Activations &part : held.activations)
                add_gradient(device, {sums.back().data(), nullptr, size}, part.gradient, 1.0);
            scores[at].sums = sums.back().data();
        }
        scores[at].excluded = mask_of(at).indices;
        scores[at].excluded_count = static_cast<std::uint64_t>(mask_of(at).count);
    }
    return rank_on_budgets(device, targets.size(), budgets, by_scores(device, scores), refuse);
}

void HeldGradients::gather(Device &device, std::size_t index, const std::uint32_t *indices, std::uint64_t count,
                           float *sums) const {
    if (count == 0) return;
    const Held &held = held_[index];
    for (const Activations &part : held.activations) add_gradient(device, {sums, indices, count}, part.gradient, 1.0);
    if (!held.values) return;
    speft_add_values gathered = sum_of(held.values, held.factor, sums);
    gathered.indices = indices;
    gathered.count = count;
    device.run(gathered);
}

}  // namespace speft
