// Small copies to the device that nobody waits for.
#pragma once

#include <cstdint>

#include "backends/cuda/device.h"

namespace speft::cuda {

inline constexpr std::uint64_t upload_limit = 64 << 10;

// target[0 … bytes) = source[0 … bytes), in stream order. `source` is read before this returns.
void upload(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes);

}  // namespace speft::cuda
