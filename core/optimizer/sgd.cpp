#include "core/optimizer/sgd.h"

#include <algorithm>

namespace speft {

void Sgd::apply(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
    const bool any_momentum = std::any_of(updates.begin(), updates.end(), [](const Update &update) {
        return update.hyperparameters->momentum != 0;
    });
    if (any_momentum) moment().start(device, masks);  // velocities take memory from here on

    std::vector<speft_sgd_segment> segments;
    for (const Update &update : updates) {
        const Hyperparameters &chosen = *update.hyperparameters;
        const bool after = chosen.decay == SPEFT_DECAY_AFTER_UPDATE;
        speft_sgd_segment segment{};
        segment.segment = update.segment;
        segment.gradient = update.gradient;
        if (chosen.momentum != 0)
            segment.velocity = moment().of(masks, update.parameter, update.segment.rounding_key);
        segment.decay_kind = chosen.decay;
        segment.learning_rate = static_cast<float>(chosen.learning_rate);
        segment.decay =
            static_cast<float>(after ? chosen.learning_rate * chosen.weight_decay : chosen.weight_decay);
        segment.gradient_scale = static_cast<float>(gradient_scale);
        segment.momentum = static_cast<float>(chosen.momentum);
        segments.push_back(segment);
    }
    device.run(speft_step_sgd{segments.data(), segments.size()});
}

}  // namespace speft
