#include "capi/src/views.h"

#include <limits>
#include <string>

#include "capi/src/structs.h"

namespace speft {
namespace {

constexpr std::int32_t most_axes = 64;

void check_strides(const TensorView &view, const std::int64_t *strides, const std::string &name) {
    if (!strides || view.size == 0) return;
    std::int64_t expected = 1;
    for (std::size_t axis = view.shape.size(); axis-- > 0;) {
        if (view.shape[axis] != 1 && strides[axis] != expected) {
            const Shape given(strides, strides + view.shape.size());
            refuse(name + " must be row-major contiguous; got strides " + describe(given) + " for shape " +
                   describe(view.shape));
        }
        expected *= view.shape[axis];
    }
}

std::optional<TensorView> read_optional(const speft_tensor *tensor, const char *name) {
    if (!tensor) return {};
    return read_tensor(tensor, name);
}

}  // namespace

TensorView read_tensor(const speft_tensor *tensor, const char *name) {
    require(tensor, name);
    const std::string what = name;
    if (tensor->ndim < 0 || tensor->ndim > most_axes)
        refuse(what + ": ndim must be between 0 and 64; got " + std::to_string(tensor->ndim));
    if (tensor->ndim > 0) require(tensor->shape, (what + ".shape").c_str());
    TensorView view;
    view.device = tensor->device;
    view.dtype = tensor->dtype;
    view.shape.assign(tensor->shape, tensor->shape + tensor->ndim);
    for (const std::int64_t extent : view.shape) {
        if (extent < 0) refuse(what + ": sizes must be 0 or more; got shape " + describe(view.shape));
        if (__builtin_mul_overflow(view.size, static_cast<std::uint64_t>(extent), &view.size) ||
            view.size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            refuse(what + ": shape " + describe(view.shape) + " has too many scalars");
    }
    check_strides(view, tensor->strides, what);
    if (view.size > 0) {
        if (!tensor->data) refuse(what + ".data must not be NULL");
        view.data = static_cast<unsigned char *>(tensor->data) + tensor->byte_offset;
        const std::uint64_t element = view.dtype.bits / 8u;
        if (element > 1 && reinterpret_cast<std::uintptr_t>(view.data) % element != 0)
            refuse(what + ".data must be aligned to its elements of " + std::to_string(element) + " bytes");
    }
    return view;
}

std::variant<TensorView, QuantizedRecord> read_weights(const speft_weights *weights) {
    const speft_weights given = read_struct(weights, "weights");
    if (given.kind < SPEFT_WEIGHTS_DENSE || given.kind > SPEFT_WEIGHTS_INT8)
        refuse("weights: kind must be one of SPEFT_WEIGHTS_…; got " + std::to_string(given.kind));
    if (given.kind != SPEFT_WEIGHTS_DENSE) return read_quantized(weights);
    if (given.quantization) refuse("weights: quantization must be NULL where kind is SPEFT_WEIGHTS_DENSE");
    return read_tensor(given.data, "weights.data");
}

QuantizedRecord read_quantized(const speft_weights *quantized) {
    const speft_weights weights = read_struct(quantized, "quantized");
    if (weights.kind == SPEFT_WEIGHTS_DENSE) refuse("quantized: kind must not be SPEFT_WEIGHTS_DENSE");
    const speft_quantization given = read_struct(weights.quantization, "quantized.quantization");
    QuantizedRecord record;
    record.kind = weights.kind;
    record.block = given.block;
    record.codes = read_tensor(weights.data, "quantized.data");
    record.absmax = read_tensor(given.absmax, "quantized.absmax");
    record.levels = read_optional(given.levels, "quantized.levels");
    record.absmax_absmax = read_optional(given.absmax_absmax, "quantized.absmax_absmax");
    record.absmax_levels = read_optional(given.absmax_levels, "quantized.absmax_levels");
    record.absmax_offset = read_optional(given.absmax_offset, "quantized.absmax_offset");
    record.absmax_block = given.absmax_block;
    return record;
}

TensorView read_host_indices(const speft_tensor *indices, const char *name) {
    const std::string what = name;
    TensorView view = read_tensor(indices, name);
    if (!same_dtype(view.dtype, {SPEFT_CODE_INT, 64, 1}))
        refuse(what + " must be int64; got " + describe(view.dtype));
    if (view.shape.size() != 1) refuse(what + " must have 1 axis; got shape " + describe(view.shape));
    if (view.device.type != SPEFT_DEVICE_CPU && view.device.type != SPEFT_DEVICE_CUDA_HOST)
        refuse(what + " must be in host memory; got " + describe(view.device));
    return view;
}

speft_tensor lend(void *values, ScalarType type, const Masks::Slot &slot, speft_device device) {
    speft_tensor tensor{};
    tensor.data = values;
    tensor.device = device;
    tensor.ndim = 1;
    tensor.dtype = dtype_of(type);
    tensor.shape = const_cast<std::int64_t *>(&slot.count);  // the struct is DLPack's, which has no const
    return tensor;
}

Gradient read_gradient(const speft_gradient *gradient) {
    const speft_gradient given = read_struct(gradient, "gradient");
    Gradient read;
    read.kind = given.kind;
    read.scale = given.scale == 0 ? 1 : given.scale;
    read.layout = given.layout;
    if (given.example_offsets) {
        if (given.kind != SPEFT_GRADIENT_ACTIVATIONS)
            refuse("gradient: example_offsets are of ACTIVATIONS; got kind " + std::to_string(given.kind));
        const TensorView offsets = read_host_indices(given.example_offsets, "gradient.example_offsets");
        read.examples = {static_cast<const std::int64_t *>(offsets.data), offsets.size};
    }
    switch (given.kind) {
    case SPEFT_GRADIENT_DENSE: read.dense = read_tensor(given.dense, "gradient.dense"); break;
    case SPEFT_GRADIENT_ACTIVATIONS:
        read.x = read_tensor(given.x, "gradient.x");
        read.has_dy = given.dy != nullptr;
        if (read.has_dy) read.dy = read_tensor(given.dy, "gradient.dy");
        break;
    case SPEFT_GRADIENT_VALUES: read.values = read_tensor(given.values, "gradient.values"); break;
    default: break;  // the core says which kinds there are
    }
    return read;
}

}  // namespace speft
