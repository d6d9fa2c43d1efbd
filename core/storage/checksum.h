// One number over all that an adapter is made from: "speft.adapter", "speft.training", each tensor's name and bytes,
// all hashed by themselves, in the order of the names, so that it does not depend on where a writer puts them. It
// guards against damage, not against forgery.
#pragma once

#include <string>

#include "core/storage/safetensors.h"

namespace speft {

// 16 hexadecimal digits.
std::string compute_checksum(const TensorMetadata &metadata, const Tensors &tensors);

}  // namespace speft
