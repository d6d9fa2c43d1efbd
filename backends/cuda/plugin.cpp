// The backend's table: whether there is a GPU, a device's life and its memory. Operations are in implementations.cpp.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include "backends/cuda/device.h"
#include "backends/cuda/guard.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"
#include "speft/tensor.h"

namespace speft::cuda {
namespace {

constexpr int least_major = 8;  // sm_80: what the oldest of the code here is compiled for

// NULL when there is a device to run on, else why not. Asked once: a process does not get a GPU while it runs.
const char *find_reason() {
    static char text[256];
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error == cudaSuccess && devices > 0) {
        for (int device = 0; device < devices; ++device) {
            int major = 0;
            if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
                major >= least_major)
                return nullptr;
        }
        return "no CUDA device here has compute capability 8.0 or later";
    }
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver) {
        int driver = 0;
        cudaDriverGetVersion(&driver);
        if (driver == 0) return "no CUDA device: this machine has no NVIDIA driver";
        std::snprintf(text, sizeof text, "the NVIDIA driver supports CUDA %d.%d; CUDA %d.%d is needed", driver / 1000,
                      driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
        return text;
    }
    if (error == cudaErrorNoDevice || error == cudaSuccess) return "no CUDA device";
    std::snprintf(text, sizeof text, "no CUDA device: %s", cudaGetErrorString(error));
    return text;
}

std::int32_t score(const char **reason) {
    static const char *const found = find_reason();
    *reason = found ? found : "";
    return found ? 0 : 100;
}

int attribute(cudaDeviceAttr name, int ordinal) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, name, ordinal), "asking for a device's attribute");
    return value;
}

// A stream tells its device through no call of the runtime; one that is enqueued on it fails where they differ.
void check_stream(cudaStream_t stream, int ordinal) {
    const cudaError_t error = cudaStreamQuery(stream);
    if (error == cudaSuccess || error == cudaErrorNotReady || error == cudaErrorStreamCaptureUnsupported) {
        cudaGetLastError();
        int device = ordinal;
        if (stream && cudaStreamGetDevice(stream, &device) == cudaSuccess && device != ordinal)
            refuse("stream belongs to CUDA device " + std::to_string(device) + "; the context is on device " +
                   std::to_string(ordinal));
        return;
    }
    check(error, "using the stream that was given");
}

speft_status create_device(const speft_backend_device_options *options, speft_backend_device **device,
                           speft_backend_failure *failure) {
    int count = 0;
    cudaGetDeviceCount(&count);
    const int ordinal = options->device;
    if (ordinal < 0 || ordinal >= count) {
        std::snprintf(failure->message, sizeof failure->message, "device must be in [0, %d); got %d", count, ordinal);
        return SPEFT_INVALID_ARGUMENT;
    }
    return guarded(ordinal, failure, [&] {
        if (attribute(cudaDevAttrComputeCapabilityMajor, ordinal) < least_major)
            refuse_unsupported("CUDA device " + std::to_string(ordinal) + " has a compute capability below 8.0");
        const auto stream = static_cast<cudaStream_t>(options->stream);
        check_stream(stream, ordinal);
        // Freed memory stays with the pool: a steady state asks the driver for nothing.
        cudaMemPool_t pool;
        check(cudaDeviceGetDefaultMemPool(&pool, ordinal), "finding the device's memory pool");
        std::uint64_t keep = UINT64_MAX;
        check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "setting up the memory pool");
        *device = new speft_backend_device{ordinal, stream, attribute(cudaDevAttrMultiProcessorCount, ordinal),
                                           attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal)};
    });
}

void destroy_device(speft_backend_device *device) { delete device; }

// What was enqueued before comes before what will be: memory and results pass from one stream to the next.
speft_status set_stream(speft_backend_device *device, void *stream, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure, [&] {
        const auto next = static_cast<cudaStream_t>(stream);
        if (next == device->stream) return;
        check_stream(next, device->ordinal);
        cudaEvent_t event;
        check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
        cudaError_t error = cudaEventRecord(event, device->stream);
        if (error == cudaSuccess) error = cudaStreamWaitEvent(next, event, 0);
        cudaEventDestroy(event);
        check(error, "changing streams");
        device->stream = next;
    });
}

speft_status synchronize(speft_backend_device *device, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure, [&] { wait(*device); });
}

void *allocate(speft_backend_device *device, std::uint64_t bytes) {
    const CurrentDevice current(device->ordinal);
    void *memory = nullptr;
    if (cudaMallocAsync(&memory, std::max<std::uint64_t>(bytes, 1), device->stream) == cudaSuccess) return memory;
    cudaGetLastError();
    return nullptr;
}

void deallocate(speft_backend_device *device, void *memory, std::uint64_t) {
    if (!memory) return;
    const CurrentDevice current(device->ordinal);
    cudaFreeAsync(memory, device->stream);
}

// Small tables go as a launch's parameters: nobody waits, and a captured graph has them in it.
speft_status copy(speft_backend_device *device, void *target, const void *source, std::uint64_t bytes,
                  std::int32_t direction, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure, [&] {
        if (bytes == 0) return;
        switch (direction) {
        case SPEFT_COPY_TO_DEVICE:
            if (bytes <= upload_limit) return upload(*device, target, source, bytes);
            check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, device->stream),
                  "copying to the device");
            return wait(*device);
        case SPEFT_COPY_TO_HOST: return read(*device, target, source, bytes);
        default:
            check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, device->stream),
                  "copying on the device");
        }
    });
}

speft_status zero(speft_backend_device *device, void *memory, std::uint64_t bytes, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure, [&] {
        if (bytes > 0) check(cudaMemsetAsync(memory, 0, bytes, device->stream), "writing zeros");
    });
}

const speft_backend_table table = {
    .struct_size = sizeof(speft_backend_table),
    .abi_version = SPEFT_BACKEND_ABI_VERSION,
    .name = "cuda",
    .version = SPEFT_VERSION,
    .device_type = SPEFT_DEVICE_CUDA,
    .reserved = 0,
    .score = score,
    .create_device = create_device,
    .destroy_device = destroy_device,
    .set_stream = set_stream,
    .synchronize = synchronize,
    .allocate = allocate,
    .deallocate = deallocate,
    .copy = copy,
    .zero = zero,
    .implementations = list_implementations,
};

}  // namespace
}  // namespace speft::cuda

extern "C" __attribute__((visibility("default"))) const speft_backend_table *speft_backend_main(
    std::uint32_t abi_version) {
    return abi_version == SPEFT_BACKEND_ABI_VERSION ? &speft::cuda::table : nullptr;
}
