#include "backends/cuda/device.h"

#include <string>

#include "core/base/status.h"

namespace speft::cuda {

void check(cudaError_t error, const char *attempt) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // one that does not stay must not be told again by the next call
    const speft_status status = error == cudaErrorMemoryAllocation ? SPEFT_OUT_OF_MEMORY : SPEFT_DEVICE;
    throw Failure(status, std::string(attempt) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")",
                  {}, error);
}

void wait(const speft_backend_device &device) {
    check(cudaStreamSynchronize(device.stream), "waiting for the stream");
}

void read(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes) {
    check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToHost, device.stream), "copying a result");
    wait(device);
}

}  // namespace speft::cuda
