#include "core/optimizer/adamw.h"

#include <cstring>

namespace speft {

std::vector<OptimizerState> AdamW::state() const {
    std::vector<OptimizerState> state;
    if (moment1_) state.push_back({"moment1", StateType::float32, moment1_.data(), moment1_.count()});
    if (moment2_) state.push_back({"moment2", StateType::float32, moment2_.data(), moment2_.count()});
    return state;
}

void *AdamW::allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                            std::uint64_t count) {
    const auto is = [&](const char *known, StateType known_type) {
        return std::strcmp(name, known) == 0 && type == known_type && count == masks.trained;
    };
    if (is("moment1", StateType::float32)) return (moment1_ = Buffer<float>::zeros(device, masks.trained)).data();
    if (is("moment2", StateType::float32)) return (moment2_ = Buffer<float>::zeros(device, masks.trained)).data();
    return nullptr;
}

std::unique_ptr<Optimizer> AdamW::move(Device &, const Move &) const { return nullptr; }

std::uint64_t AdamW::table_bytes() const {
    const Hyperparameters defaults;
    return BiasCorrections(defaults.beta1, defaults.beta2).first_bytes();
}

BiasCorrections &AdamW::corrections_for(const Hyperparameters &hyperparameters) {
    for (BiasCorrections &corrections : corrections_)
        if (corrections.is_for(hyperparameters.beta1, hyperparameters.beta2)) return corrections;
    return corrections_.emplace_back(hyperparameters.beta1, hyperparameters.beta2);
}

void AdamW::apply(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
    if (!moment1_) moment1_ = Buffer<float>::zeros(device, masks.trained);
    if (!moment2_) moment2_ = Buffer<float>::zeros(device, masks.trained);

    const std::vector<std::uint32_t> &before = this->updates();
    // All tables first: growing one moves it.
    for (const Update &update : updates)
        corrections_for(*update.hyperparameters).reach(device, before[update.parameter] + 1);

    std::vector<speft_adamw_segment> segments;
    for (const Update &update : updates) {
        const Hyperparameters &chosen = *update.hyperparameters;
        const BiasCorrections &corrections = corrections_for(chosen);
        const std::uint64_t offset = masks.slots[update.parameter].offset;
        speft_adamw_segment segment{};
        segment.segment = update.segment;
        segment.gradient = update.gradient;
        segment.moment1.values = moment1_.data() + offset;
        segment.moment2.values = moment2_.data() + offset;
        segment.age = before[update.parameter] + 1;
        segment.decay_kind = chosen.decay;
        segment.learning_rate = static_cast<float>(chosen.learning_rate);
        segment.decay = static_cast<float>(chosen.learning_rate * chosen.weight_decay);
        segment.gradient_scale = static_cast<float>(gradient_scale);
        segment.beta1 = static_cast<float>(chosen.beta1);
        segment.one_minus_beta1 = static_cast<float>(1 - chosen.beta1);
        segment.beta2 = static_cast<float>(chosen.beta2);
        segment.one_minus_beta2 = static_cast<float>(1 - chosen.beta2);
        segment.epsilon = static_cast<float>(chosen.epsilon);
        segment.corrections = corrections.count();
        segment.corrections1 = corrections.first();
        segment.corrections2 = corrections.second();
        segments.push_back(segment);
    }
    device.run(speft_step_adamw{segments.data(), segments.size()});
}

}  // namespace speft
