#include "core/optimizer/lion.h"

namespace speft {

void Lion::apply(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
    moment().start(device, masks);
    std::vector<speft_lion_segment> segments;
    for (const Update &update : updates) {
        const Hyperparameters &chosen = *update.hyperparameters;
        speft_lion_segment segment{};
        segment.segment = update.segment;
        segment.gradient = update.gradient;
        segment.moment = moment().of(masks, update.parameter, update.segment.rounding_key);
        segment.decay_kind = chosen.decay;
        segment.learning_rate = static_cast<float>(chosen.learning_rate);
        segment.decay = static_cast<float>(chosen.learning_rate * chosen.weight_decay);
        segment.gradient_scale = static_cast<float>(gradient_scale);
        segment.beta1 = static_cast<float>(chosen.beta1);
        segment.one_minus_beta1 = static_cast<float>(1 - chosen.beta1);
        segment.beta2 = static_cast<float>(chosen.beta2);
        segment.one_minus_beta2 = static_cast<float>(1 - chosen.beta2);
        segments.push_back(segment);
    }
    device.run(speft_step_lion{segments.data(), segments.size()});
}

}  // namespace speft
