// A GPU as the table knows it: its stream, and what launches have to know of it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "speft/backend.h"

struct speft_backend_device {
    int ordinal;
    cudaStream_t stream;
    int multiprocessors;
    int shared_bytes;  // of dynamic shared memory, the most that a block may ask for
};

namespace speft::cuda {

// Throws Failure with the runtime's own words; `attempt` is what was tried: "launching select_top". OUT_OF_MEMORY where
// that is the reason, else DEVICE. An error of work that was enqueued before stays with the process: every later call
// says so again.
void check(cudaError_t error, const char *attempt);

// Work is enqueued on the device's stream; these two wait for it, which only operations with results on the host do.
void wait(const speft_backend_device &device);
void read(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes);

}  // namespace speft::cuda
