// One weight's update by SM3: the formulas of optimizer.h, one rounding an operation, in their order. Host and device
// compile the same code.
#pragma once

#include <cmath>

#include "decay.h"
#include "speft/backend.h"

namespace speft {

struct Sm3Update {
    float delta, moment;
};

// `sum`: the smaller one of the row's and the column's, as it was before the update.
SPEFT_HOST_DEVICE inline Sm3Update update_sm3(const speft_factored_segment &s, const Decay<> &decay, float sum,
                                              float gradient, float pulled, float delta) {
    gradient = gradient * s.gradient_scale;
    const float moment = sum + gradient * gradient;
    delta = decay.first(delta, pulled);
    const float direction = moment == 0 ? 0 : gradient / std::sqrt(moment);
    return {decay.last(delta - s.learning_rate * direction), moment};
}

}  // namespace speft
