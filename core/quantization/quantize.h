// Weights to codes and back.
#pragma once

#include "core/adapter/matrices.h"
#include "core/quantization/quantized_weights.h"

namespace speft {

// Into the memory that the record names. Nothing is written unless all weights are finite.
void quantize(Device &device, const TensorView &weights, const QuantizedRecord &record);
void dequantize(Device &device, const QuantizedRecord &record, const TensorView &weights);
// outputs = inputs·W, or inputs·Wᵀ, with W's shape by theirs.
void multiply(Device &device, const TensorView &inputs, const QuantizedRecord &record, Factor weight_is,
              const TensorView &outputs, Into into);

}  // namespace speft
