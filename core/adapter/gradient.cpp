#include "core/adapter/gradient.h"

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
    check_tensor(gradient.dy, {tokens, out}, what + "dy", device);
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

void add_gradient(Device &device, const GradientTarget &target, const Gradient &gradient, double factor) {
    if (target.count == 0) return;
    const float scale = static_cast<float>(factor * gradient.scale);
    if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        const bool out_in = gradient.layout == SPEFT_LAYOUT_OUT_IN;
        speft_add_product product{};
        product.sums = target.sums;
        product.x = gradient.x.data;
        product.dy = gradient.dy.data;
        product.indices = target.indices;
        product.count = target.count;
        product.tokens = static_cast<std::uint64_t>(gradient.x.shape[0]);
        product.in = static_cast<std::uint64_t>(gradient.x.shape[1]);
        product.out = static_cast<std::uint64_t>(gradient.dy.shape[1]);
        product.x_type = static_cast<std::int32_t>(scalar_type_of(gradient.x, "x"));
        product.dy_type = static_cast<std::int32_t>(scalar_type_of(gradient.dy, "dy"));
        product.layout = out_in ? SPEFT_LAYOUT_OUT_IN : SPEFT_LAYOUT_IN_OUT;
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
