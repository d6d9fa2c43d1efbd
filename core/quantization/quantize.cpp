#include "core/quantization/quantize.h"

#include "core/adapter/gradient.h"
#include "core/backend/buffer.h"
#include "core/base/scalar_type.h"
#include "core/base/status.h"
#include "core/quantization/quantized_product.h"

namespace speft {
namespace {

std::int32_t check_weights(const Device &device, const TensorView &weights) {
    const ScalarType type = scalar_type_of(weights, "weights");
    if (!device.holds(weights.device))
        refuse("weights must be on " + describe(device.location()) + "; got " + describe(weights.device));
    return static_cast<std::int32_t>(type);
}

}  // namespace

void quantize(Device &device, const TensorView &weights, const QuantizedRecord &record) {
    const std::int32_t type = check_weights(device, weights);
    const QuantizedWeights checked(device, record, weights.shape);
    const speft_quantized_blocks target = checked.view();
    Buffer<float> scales;
    if (checked.quantizes_absmax()) scales = Buffer<float>(device, checked.blocks());

    std::uint64_t not_finite = 0;
    speft_quantize_blocks first{};
    first.weights = weights.data;
    first.codes = record.codes.data;
    first.absmax = scales ? scales.data() : static_cast<float *>(record.absmax.data);
    first.levels = target.levels;
    first.count = target.count;
    first.block = target.block;
    first.not_finite = &not_finite;
    first.weights_type = type;
    first.coding = target.coding;
    device.run(first);
    if (not_finite > 0)
        refuse("weights must be finite; " + std::to_string(not_finite) + " of " + std::to_string(checked.size()) +
               " are not");
    if (!scales) {
        // Rows of no scalars are not blocks, and yet each has an absmax.
        if (checked.size() == 0) device.zero(first.absmax, checked.blocks() * sizeof(float));
        return;
    }
    speft_quantize_blocks second{};
    second.weights = scales.data();
    second.codes = record.absmax.data;
    second.absmax = static_cast<float *>(record.absmax_absmax->data);
    second.offset = static_cast<float *>(record.absmax_offset->data);
    second.levels = target.absmax_levels;
    second.count = checked.blocks();
    second.block = target.absmax_block;
    second.not_finite = &not_finite;
    second.weights_type = SPEFT_SCALAR_FLOAT32;
    second.coding = SPEFT_CODING_LEVELS8;
    device.run(second);
}

void dequantize(Device &device, const QuantizedRecord &record, const TensorView &weights) {
    const std::int32_t type = check_weights(device, weights);
    const QuantizedWeights checked(device, record, weights.shape);
    speft_dequantize_blocks arguments{};
    arguments.quantized = checked.view();
    arguments.weights = weights.data;
    arguments.weights_type = type;
    device.run(arguments);
}

void multiply(Device &device, const TensorView &inputs, const QuantizedRecord &record, Factor weight_is,
              const TensorView &outputs, Into into) {
    const auto check = [&](const TensorView &tensor, const char *name) {
        scalar_type_of(tensor, name);
        if (tensor.shape.size() != 2)
            refuse(std::string(name) + " must have 2 axes; got shape " + describe(tensor.shape));
        if (!device.holds(tensor.device))
            refuse(std::string(name) + " must be on " + describe(device.location()) + "; got " +
                   describe(tensor.device));
    };
    check(inputs, "inputs");
    check(outputs, "outputs");
    if (inputs.shape[0] != outputs.shape[0])
        refuse("inputs and outputs must have as many rows; got " + std::to_string(inputs.shape[0]) + " and " +
               std::to_string(outputs.shape[0]));
    Shape shape = {inputs.shape[1], outputs.shape[1]};
    if (weight_is == Factor::transposed) std::swap(shape[0], shape[1]);
    const QuantizedWeights weights(device, record, shape);
    SparseMatrix none;
    none.rows = static_cast<std::uint64_t>(shape[0]);
    none.columns = static_cast<std::uint64_t>(shape[1]);
    if (outputs.size > 0) device.run(make_product(inputs, weights, none, weight_is, outputs, into));
}

}  // namespace speft
