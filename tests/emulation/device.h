// What the host's side and the device's know of each other.
#pragma once

#include <cuda_runtime.h>

#include <string>

namespace emulation {

inline constexpr unsigned most_threads = 1024, warp_lanes = 32;
inline constexpr std::size_t default_shared_bytes = 48 << 10, most_shared_bytes = 227 << 10;
inline constexpr std::size_t most_parameter_bytes = 32764;

std::size_t allowed_shared_bytes(const void *kernel);
cudaError_t check_stream(cudaStream_t stream);
cudaError_t fail_launch(cudaError_t error);
// Whether the host's memory is the device's too, and the other way round.
bool shares_memory();
// For addr2line: the library and the place in it.
std::string describe_address(const void *address);

}  // namespace emulation
