// Weights to codes and back.
#pragma once

#include "core/quantization/quantized_weights.h"

namespace speft {

// Into the memory that the record names. Nothing is written unless all weights are finite.
void quantize(Device &device, const TensorView &weights, const QuantizedRecord &record);
void dequantize(Device &device, const QuantizedRecord &record, const TensorView &weights);

}  // namespace speft
