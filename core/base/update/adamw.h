// One weight's update by AdamW or Adam: the formulas of optimizer.h, one rounding an operation, in their order. Host
// and device compile the same code.
#pragma once

#include <cmath>
#include <cstdint>

#include "decay.h"
#include "speft/backend.h"

namespace speft {

struct AdamwState {
    float delta, moment1, moment2;
};

// Of a weight as old as its cohort.
SPEFT_HOST_DEVICE inline std::uint32_t count_updates(std::uint32_t age, std::int32_t birth) {
    return age - static_cast<std::uint32_t>(birth);
}

SPEFT_HOST_DEVICE inline std::uint16_t grow_older(std::uint16_t age) {
    return age < UINT16_MAX ? static_cast<std::uint16_t>(age + 1) : age;
}

// The place of an age in the tables of corrections.
SPEFT_HOST_DEVICE inline std::uint32_t correction_of(const speft_adamw_segment &s, std::uint32_t age) {
    return age < s.corrections - 1 ? age : s.corrections - 1;
}

template <bool usual>
SPEFT_HOST_DEVICE inline AdamwState update_adamw(const speft_adamw_segment &s, const Decay<usual> &decay, bool coupled,
                                                 float correction1, float correction2, float gradient, float pulled,
                                                 AdamwState state) {
    gradient = gradient * s.gradient_scale;
    if (coupled)
        gradient = decay.couple(gradient, pulled);
    else
        state.delta = decay.first(state.delta, pulled);
    state.moment1 = s.beta1 * state.moment1 + s.one_minus_beta1 * gradient;
    state.moment2 = s.beta2 * state.moment2 + s.one_minus_beta2 * gradient * gradient;
    const float denominator = std::sqrt(state.moment2) * correction2 + s.epsilon;
    state.delta = decay.last(state.delta - s.learning_rate * correction1 * state.moment1 / denominator);
    return state;
}

}  // namespace speft
