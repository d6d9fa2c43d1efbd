#include "core/adapter/gradient.h"

#include <algorithm>
#include <cmath>

#include "core/base/status.h"

namespace speft {
namespace {

void check_tensor(const TensorView &tensor, const Shape &shape, const std::string &what, const Device &device) {
    if (tensor.shape != shape)
        refuse(what + " must have shape " + describe(shape) + "; got " + describe(tensor.shape));
    scalar_type_of(tensor, what);
    if (!device.holds(tensor.device))
        refuse(what + " must be on " + describe(device.location()) + "; got " + describe(tensor.device));
}

void check_examples(std::span<const std::int64_t> offsets, std::int64_t tokens, const std::string &what) {
    if (offsets.empty()) return;
    const bool rising = std::is_sorted(offsets.begin(), offsets.end());
    if (offsets.size() < 2 || offsets.front() != 0 || offsets.back() != tokens || !rising)
        refuse(what + "example_offsets must rise from 0 to the number of tokens, " + std::to_string(tokens) +
               ", with an entry more than there are examples; got " + std::to_string(offsets.size()) + " from " +
               std::to_string(offsets.front()) + " to " + std::to_string(offsets.back()));
}

void check_activations(const Gradient &gradient, const Parameter &parameter, const Device &device,
                       const std::string &what) {
    if (gradient.layout != SPEFT_LAYOUT_OUT_IN && gradient.layout != SPEFT_LAYOUT_IN_OUT)
        refuse(what + "layout must be SPEFT_LAYOUT_OUT_IN or SPEFT_LAYOUT_IN_OUT; got " +
               std::to_string(gradient.layout));
    if (parameter.shape.size() != 2)
        refuse(what + "activations need a parameter of 2 axes; it has shape " + describe(parameter.shape));
    const bool out_in = gradient.layout == SPEFT_LAYOUT_OUT_IN;
    const std::int64_t in = parameter.shape[out_in ? 1 : 0], out = parameter.shape[out_in ? 0 : 1];
    const std::int64_t tokens = gradient.x.shape.empty() ? 0 : gradient.x.shape[0];
    check_tensor(gradient.x, {tokens, in}, what + "x", device);
    if (gradient.has_dy) check_tensor(gradient.dy, {tokens, out}, what + "dy", device);
    check_examples(gradient.examples, tokens, what);
}

}  // namespace

ScalarType scalar_type_of(const TensorView &tensor, const std::string &what) {
    for (const ScalarType type : {ScalarType::float32, ScalarType::bfloat16, ScalarType::float16})
        if (same_dtype(tensor.dtype, dtype_of(type))) return type;
    refuse(what + " must be float32, bfloat16 or float16; got " + describe(tensor.dtype));
}

void check_gradient(const Gradient &gradient, const Parameter &parameter, const Device &device, std::uint64_t count) {
    const std::string what = "gradient of '" + parameter.name + "': ";
    if (!std::isfinite(gradient.scale))
        refuse(what + "scale must be finite; got " + std::to_string(gradient.scale));
    switch (gradient.kind) {
    case SPEFT_GRADIENT_DENSE: check_tensor(gradient.dense, parameter.shape, what + "dense", device); break;
    case SPEFT_GRADIENT_ACTIVATIONS: check_activations(gradient, parameter, device, what); break;
    case SPEFT_GRADIENT_VALUES:
        check_tensor(gradient.values, {static_cast<std::int64_t>(count)}, what + "values", device);
        break;
    default:
        refuse(what + "kind must be one of SPEFT_GRADIENT_DENSE, _ACTIVATIONS, _VALUES; got " +
               std::to_string(gradient.kind));
    }
}

void require_gradient(const Gradient &gradient, const Parameter &parameter) {
    if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS && !gradient.has_dy)
        refuse("gradient of '" + parameter.name + "': dy must not be NULL");
}

speft_add_values sum_of(const Buffer<float> &values, double factor, float *target) {
    speft_add_values add{};
    add.sums = target;
    add.source = values.data();
    add.count = values.count();
    add.source_type = SPEFT_SCALAR_FLOAT32;
    add.scale = static_cast<float>(factor);
    add.weight = 1;
    return add;
}

speft_product_factors factors_of(const Gradient &gradient) {
    speft_product_factors factors{};
    factors.x = gradient.x.data;
    factors.dy = gradient.dy.data;
    factors.tokens = static_cast<std::uint64_t>(gradient.x.shape[0]);
    factors.x_type = static_cast<std::int32_t>(scalar_type_of(gradient.x, "x"));
    factors.dy_type = static_cast<std::int32_t>(scalar_type_of(gradient.dy, "dy"));
    factors.scale = static_cast<float>(gradient.scale);
    return factors;
}

void add_gradient(Device &device, const GradientTarget &target, const Gradient &gradient, double factor) {
    if (target.count == 0) return;
    const float scale = static_cast<float>(factor * gradient.scale);
    if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        const speft_product_factors factors = factors_of(gradient);
        speft_add_product product{};
        product.sums = target.sums;
        product.x = factors.x;
        product.dy = factors.dy;
        product.indices = target.indices;
        product.count = target.count;
        product.tokens = factors.tokens;
        product.in = static_cast<std::uint64_t>(gradient.x.shape[1]);
        product.out = static_cast<std::uint64_t>(gradient.dy.shape[1]);
        product.x_type = factors.x_type;
        product.dy_type = factors.dy_type;
        product.layout = gradient.layout;
        product.scale = scale;
        device.run(product);
        return;
    }
    const bool values = gradient.kind == SPEFT_GRADIENT_VALUES;
    const TensorView &source = values ? gradient.values : gradient.dense;
    speft_add_values sum{};
    sum.sums = target.sums;
    sum.source = source.data;
    sum.indices = values ? nullptr : target.indices;
    sum.count = target.count;
    sum.source_type = static_cast<std::int32_t>(scalar_type_of(source, "gradient"));
    sum.scale = scale;
    sum.weight = 1;
    device.run(sum);
}

}  // namespace speft
