// The host's side of CUDA, of one device whose memory is a part of this process's.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <set>

#include "tests/emulation/arena.h"
#include "tests/emulation/device.h"

namespace {

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t remember(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

// What is alive. Leaked, so that it outlives every static object that still frees something.
struct Known {
    std::mutex mutex;
    std::map<std::uintptr_t, std::uint64_t> memory;  // where it begins, and its bytes
    std::uint64_t used = 0, limit = UINT64_MAX;
    bool any_memory = false;  // the host's memory is also the device's
    std::set<const void *> streams, events;
    std::map<const void *, int> shared_bytes;  // that kernels were allowed
};

Known &known() {
    static Known *const all = [] {
        auto *made = new Known;
        if (const char *limit = std::getenv("SPEFT_EMULATED_MEMORY")) made->limit = std::strtoull(limit, nullptr, 10);
        made->any_memory = std::getenv("SPEFT_EMULATED_ANY_MEMORY");
        return made;
    }();
    return *all;
}

// How much of the device's memory begins at `place`; -1 when that is neither in it nor just behind.
std::int64_t count_bytes(const void *place) {
    const auto address = reinterpret_cast<std::uintptr_t>(place);
    Known &all = known();
    const std::lock_guard lock(all.mutex);
    auto found = all.memory.upper_bound(address);
    if (found == all.memory.begin()) return -1;
    --found;
    return std::max<std::int64_t>(-1, static_cast<std::int64_t>(found->first + found->second - address));
}

bool is_on_device(const void *memory, std::size_t bytes) {
    return known().any_memory || count_bytes(memory) >= static_cast<std::int64_t>(bytes);
}

bool is_on_host(const void *memory) { return known().any_memory || !emulation::is_in_arena(memory); }

bool is_stream(cudaStream_t stream) {
    if (reinterpret_cast<std::uintptr_t>(stream) <= 2) return true;  // default, legacy, per thread
    const std::lock_guard lock(known().mutex);
    return known().streams.contains(stream);
}

bool is_event(cudaEvent_t event) {
    const std::lock_guard lock(known().mutex);
    return known().events.contains(event);
}

cudaError_t use(cudaStream_t stream) {
    return remember(is_stream(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

// A handle is the address of a byte.
template <class Handle>
cudaError_t create(Handle *handle, std::set<const void *> &all) {
    auto *const made = new char;
    *handle = reinterpret_cast<Handle>(made);
    const std::lock_guard lock(known().mutex);
    all.insert(made);
    return cudaSuccess;
}

template <class Handle>
cudaError_t destroy(Handle handle, std::set<const void *> &all) {
    {
        const std::lock_guard lock(known().mutex);
        if (all.erase(handle) == 0) return remember(cudaErrorInvalidResourceHandle);
    }
    delete reinterpret_cast<char *>(handle);
    return cudaSuccess;
}

struct Described {
    cudaError_t error;
    const char *name, *text;
};

constexpr Described described[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
};

const Described &describe(cudaError_t error) {
    static constexpr Described unknown = {cudaSuccess, "unrecognized error code", "unrecognized error code"};
    for (const Described &each : described)
        if (each.error == error) return each;
    return unknown;
}

}  // namespace

namespace emulation {

void fail(const char *format, ...) {
    std::fputs("CUDA emulation: ", stderr);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::abort();
}

void check_pointer(const void *pointer, const void *kernel) {
    if (pointer && !is_on_device(pointer, 0))
        fail("the kernel at %s gets %p, which is not in the device's memory", describe_address(kernel).c_str(),
             pointer);
}

bool shares_memory() { return known().any_memory; }

std::size_t allowed_shared_bytes(const void *kernel) {
    const std::lock_guard lock(known().mutex);
    const auto found = known().shared_bytes.find(kernel);
    return found == known().shared_bytes.end() ? default_shared_bytes : static_cast<std::size_t>(found->second);
}

cudaError_t check_stream(cudaStream_t stream) { return use(stream); }
cudaError_t fail_launch(cudaError_t error) { return remember(error); }

}  // namespace emulation

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char *cudaGetErrorString(cudaError_t error) { return describe(error).text; }
const char *cudaGetErrorName(cudaError_t error) { return describe(error).name; }

cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    if (device != 0) return remember(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = emulation::most_threads; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = emulation::default_shared_bytes; break;
    case cudaDevAttrWarpSize: *value = warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = 2; break;  // small grids: every block is work
    case cudaDevAttrL2CacheSize: *value = 50 << 20; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = emulation::most_shared_bytes; break;
    default: return remember(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
    if (device != 0) return remember(cudaErrorInvalidDevice);
    *pool = reinterpret_cast<cudaMemPool_t>(&known());
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void *) {
    return remember(attribute == cudaMemPoolAttrReleaseThreshold ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocAsync(void **memory, std::size_t bytes, cudaStream_t stream) {
    if (use(stream) != cudaSuccess) return cudaErrorInvalidResourceHandle;
    *memory = nullptr;
    if (bytes == 0) return cudaSuccess;
    Known &all = known();
    const std::lock_guard lock(all.mutex);
    if (bytes > all.limit - all.used || !(*memory = emulation::take_memory(bytes)))
        return remember(cudaErrorMemoryAllocation);
    const emulation::DeviceAtWork at_work;
    memset(*memory, 0xff, bytes);
    all.memory.emplace(reinterpret_cast<std::uintptr_t>(*memory), bytes);
    all.used += bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
    if (use(stream) != cudaSuccess) return cudaErrorInvalidResourceHandle;
    if (!memory) return cudaSuccess;
    Known &all = known();
    const std::lock_guard lock(all.mutex);
    const auto found = all.memory.find(reinterpret_cast<std::uintptr_t>(memory));
    if (found == all.memory.end()) emulation::fail("%p is freed, which is not the device's memory", memory);
    all.used -= found->second;
    emulation::return_memory(memory, found->second);
    all.memory.erase(found);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    if (use(stream) != cudaSuccess) return cudaErrorInvalidResourceHandle;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (bytes > 0 && kind != cudaMemcpyDefault &&
        (!(to_device ? is_on_device(target, bytes) : is_on_host(target)) ||
         !(from_device ? is_on_device(source, bytes) : is_on_host(source))))
        return remember(cudaErrorInvalidValue);
    const emulation::DeviceAtWork at_work;
    if (bytes > 0) memmove(target, source, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, std::size_t bytes, cudaStream_t stream) {
    if (use(stream) != cudaSuccess) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    if (!is_on_device(memory, bytes)) return remember(cudaErrorInvalidValue);
    const emulation::DeviceAtWork at_work;
    memset(memory, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    void *const plain = const_cast<void *>(pointer);
    *attributes = is_on_device(pointer, 1) ? cudaPointerAttributes{cudaMemoryTypeDevice, 0, plain, nullptr}
                                           : cudaPointerAttributes{cudaMemoryTypeUnregistered, -2, nullptr, plain};
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return create(stream, known().streams); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroy(stream, known().streams); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return use(stream); }
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int *device) {
    *device = 0;
    return use(stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return use(stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return remember(is_stream(stream) && is_event(event) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    *status = cudaStreamCaptureStatusNone;
    return use(stream);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return create(event, known().events); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return cudaStreamWaitEvent(stream, event, 0); }
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaStreamWaitEvent(nullptr, event, 0); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return cudaStreamWaitEvent(nullptr, event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroy(event, known().events); }

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<std::size_t>(value) > emulation::most_shared_bytes)
        return remember(cudaErrorInvalidValue);
    const std::lock_guard lock(known().mutex);
    known().shared_bytes[kernel] = value;
    return cudaSuccess;
}
