// From the caller's views to checked ones.
#pragma once

#include <variant>

#include "core/adapter/gradient.h"
#include "core/adapter/masks.h"
#include "core/base/tensor_view.h"
#include "core/quantization/quantized_weights.h"
#include "speft/gradient.h"
#include "speft/tensor.h"
#include "speft/weights.h"

namespace speft {

// Refuses NULL, bad shapes, strides other than row-major contiguous, and no memory; names it `name`.
TensorView read_tensor(const speft_tensor *tensor, const char *name);

std::variant<TensorView, QuantizedRecord> read_weights(const speft_weights *weights);
// Refuses dense ones.
QuantizedRecord read_quantized(const speft_weights *weights);

// int64 in host memory, 1 axis.
TensorView read_host_indices(const speft_tensor *indices, const char *name);

// A view on the adapter's own memory, [count]; its shape is the slot's.
speft_tensor lend(void *values, ScalarType type, const Masks::Slot &slot, speft_device device);

Gradient read_gradient(const speft_gradient *gradient);

}  // namespace speft
