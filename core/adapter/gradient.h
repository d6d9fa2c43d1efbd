// One gradient contribution, checked against its parameter, and how it is added up.
#pragma once

#include <cstdint>
#include <span>

#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"
#include "speft/gradient.h"

namespace speft {

struct Gradient {
    std::int32_t kind = 0;  // SPEFT_GRADIENT_…
    double scale = 1;
    std::int32_t layout = SPEFT_LAYOUT_OUT_IN;
    TensorView dense;   // DENSE
    TensorView x, dy;   // ACTIVATIONS
    bool has_dy = true;
    TensorView values;  // VALUES
    std::span<const std::int64_t> examples;  // ACTIVATIONS: the first token of each, and their end; empty: not told
};

// Where a contribution is added: all scalars of a parameter, or those of its mask.
struct GradientTarget {
    float *sums = nullptr;
    const std::uint32_t *indices = nullptr;  // [count], or NULL: all
    std::uint64_t count = 0;
};

// Shapes, types and device; throws INVALID_ARGUMENT naming the parameter and the tensor. `count` is k, for VALUES.
void check_gradient(const Gradient &gradient, const Parameter &parameter, const Device &device, std::uint64_t count);

// Throws INVALID_ARGUMENT when it has not what a gradient is made of, but x alone.
void require_gradient(const Gradient &gradient, const Parameter &parameter);

// target += factor · gradient.scale · gradient. The gradient has been checked.
void add_gradient(Device &device, const GradientTarget &target, const Gradient &gradient, double factor);

// target += factor · values, to be run.
speft_add_values sum_of(const Buffer<float> &values, double factor, float *target);

// A checked gradient from activations, as the operations take it.
speft_product_factors factors_of(const Gradient &gradient);

// The element type of a host tensor; throws INVALID_ARGUMENT unless it is float32, bfloat16 or float16.
ScalarType scalar_type_of(const TensorView &tensor, const std::string &what);

}  // namespace speft
