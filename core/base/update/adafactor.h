// One weight's update by Adafactor: the formulas of optimizer.h, one rounding an operation, in their order. Host and
// device compile the same code.
#pragma once

#include <cmath>

#include "decay.h"
#include "speft/backend.h"

namespace speft {

// What u is divided by: the mean of the rows at first, then its root mean square.
struct AdafactorScale {
    float row_mean = 1;
    float divisor = 1;
};

// Of g, the gradient with its scale.
SPEFT_HOST_DEVICE inline double adafactor_energy(const speft_factored_segment &s, float scaled_gradient) {
    const double gradient = scaled_gradient;
    return gradient * gradient + static_cast<double>(s.epsilon);
}

SPEFT_HOST_DEVICE inline float adafactor_average(const speft_factored_segment &s, float before, double mean) {
    return s.beta2 * before + s.one_minus_beta2 * static_cast<float>(mean);
}

// u. A parameter with one column has none of its own.
SPEFT_HOST_DEVICE inline float adafactor_direction(const speft_factored_segment &s, float gradient, float row,
                                                   float column, float row_mean) {
    return gradient * s.gradient_scale / std::sqrt(s.columns > 1 ? row / row_mean * column : row);
}

// From the sum of all u².
SPEFT_HOST_DEVICE inline float adafactor_divisor(const speft_factored_segment &s, double squares) {
    const auto size = static_cast<float>(std::sqrt(squares / static_cast<double>(s.segment.count)));
    const float excess = size / s.clip;
    return excess <= 1 ? 1 : excess;  // NaN stays
}

SPEFT_HOST_DEVICE inline float update_adafactor(const speft_factored_segment &s, const Decay<> &decay, float direction,
                                                float divisor, float pulled, float delta) {
    delta = decay.first(delta, pulled);
    return decay.last(delta - s.learning_rate * (direction / divisor));
}

}  // namespace speft
