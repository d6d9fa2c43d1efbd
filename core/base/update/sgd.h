// One weight's update by SGD: the formulas of optimizer.h, one rounding an operation, in their order. Host and device
// compile the same code.
#pragma once

#include "decay.h"
#include "speft/backend.h"

namespace speft {

// g with its decay.
template <class Weight>
SPEFT_HOST_DEVICE inline float sgd_gradient(const speft_sgd_segment &s, const Decay<> &decay, float gradient,
                                            float delta, const Weight &weight) {
    return decay.couple(gradient * s.gradient_scale, delta, weight);
}

SPEFT_HOST_DEVICE inline float move_velocity(const speft_sgd_segment &s, float velocity, float gradient) {
    return s.momentum * velocity + gradient;
}

// `change`: the velocity, or the gradient where there is none.
SPEFT_HOST_DEVICE inline float update_sgd(const speft_sgd_segment &s, const Decay<> &decay, float delta, float change) {
    return decay.last(delta - s.learning_rate * change);
}

}  // namespace speft
