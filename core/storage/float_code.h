// Floats as the bytes of a tensor of float32, bfloat16 or float16, and back.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/base/scalar_type.h"

namespace speft {

// The name that safetensors has for it: "BF16".
const char *get_type_name(ScalarType type);

// Rounds to nearest even. What bfloat16 holds exactly keeps its bits, NaN payloads included.
std::vector<std::byte> encode_floats(std::span<const float> values, ScalarType type);

// `values` has room for what `bytes` hold.
void decode_floats(std::span<const std::byte> bytes, ScalarType type, std::span<float> values);

}  // namespace speft
