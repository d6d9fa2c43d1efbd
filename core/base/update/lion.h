// One weight's update by Lion: the formulas of optimizer.h, one rounding an operation, in their order. Host and device
// compile the same code.
#pragma once

#include "decay.h"
#include "speft/backend.h"

namespace speft {

struct LionState {
    float delta, moment;
};

SPEFT_HOST_DEVICE inline float sign_of(float value) {
    if (value != value) return value;
    return static_cast<float>((value > 0) - (value < 0));
}

SPEFT_HOST_DEVICE inline LionState update_lion(const speft_lion_segment &s, const Decay<> &decay, float gradient,
                                               float pulled, LionState state) {
    gradient = gradient * s.gradient_scale;
    const float delta = decay.first(state.delta, pulled);
    const float direction = sign_of(s.beta1 * state.moment + s.one_minus_beta1 * gradient);
    return {decay.last(delta - s.learning_rate * direction), s.beta2 * state.moment + s.one_minus_beta2 * gradient};
}

}  // namespace speft
