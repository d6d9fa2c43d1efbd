#include "core/optimizer/sgd.h"

#include <algorithm>
#include <cstring>

namespace speft {

std::vector<OptimizerState> Sgd::state() const {
    if (!velocity_) return {};
    return {{"velocity", StateType::float32, velocity_.data(), velocity_.count()}};
}

void *Sgd::allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                          std::uint64_t count) {
    if (std::strcmp(name, "velocity") != 0 || type != StateType::float32 || count != masks.trained) return nullptr;
    return (velocity_ = Buffer<float>::zeros(device, masks.trained)).data();
}

std::unique_ptr<Optimizer> Sgd::move(Device &, const Move &) const { return nullptr; }

void Sgd::apply(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
    const bool any_momentum = std::any_of(updates.begin(), updates.end(), [](const Update &update) {
        return update.hyperparameters->momentum != 0;
    });
    if (any_momentum && !velocity_) velocity_ = Buffer<float>::zeros(device, masks.trained);

    std::vector<speft_sgd_segment> segments;
    for (const Update &update : updates) {
        const Hyperparameters &chosen = *update.hyperparameters;
        speft_sgd_segment segment{};
        segment.segment = update.segment;
        segment.gradient = update.gradient;
        if (chosen.momentum != 0) segment.velocity.values = velocity_.data() + masks.slots[update.parameter].offset;
        segment.decay_kind = chosen.decay;
        segment.learning_rate = static_cast<float>(chosen.learning_rate);
        segment.decay = static_cast<float>(chosen.weight_decay);
        segment.gradient_scale = static_cast<float>(gradient_scale);
        segment.momentum = static_cast<float>(chosen.momentum);
        segments.push_back(segment);
    }
    device.run(speft_step_sgd{segments.data(), segments.size()});
}

}  // namespace speft
