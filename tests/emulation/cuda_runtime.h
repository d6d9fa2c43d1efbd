// What the CUDA backend uses of CUDA, on the CPU: g++ finds this header in the toolkit's place. See README.md.
#pragma once

#include <math.h>
#include <string.h>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#define CUDART_VERSION 13000

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ __inline__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// One launch at a time, one block after another: each block's threads share it, and find in it what others left.
#define __shared__ static

// Vectors: aligned as on the device, so that a misaligned load traps or is told by the sanitizer.
struct __align__(8) int2 { int x, y; };
struct __align__(16) int4 { int x, y, z, w; };
struct __align__(8) uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
struct __align__(8) float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };

constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// The host's side: cuda_host.cpp. Work is done before the call that enqueues it returns.

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorStreamCaptureUnsupported = 900,
};

enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

using cudaStream_t = struct CUstream_st *;
using cudaEvent_t = struct CUevent_st *;
using cudaMemPool_t = struct CUmemPoolHandle_st *;

struct cudaPointerAttributes {
    cudaMemoryType type;
    int device;
    void *devicePointer;
    void *hostPointer;
};

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    std::size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value);
cudaError_t cudaMallocAsync(void **memory, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *target, const void *source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int *device);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value);

// The device's side: grid.cpp.

inline constexpr int warpSize = 32;
extern uint3 threadIdx, blockIdx;  // of the thread that runs
extern dim3 blockDim, gridDim;

namespace emulation {

using Where = std::source_location;

// What a lane may show to the others of its warp in one collective.
inline constexpr std::size_t slot_bytes = 32;
struct Slot {
    unsigned char bytes[slot_bytes];
};

void *dynamic_shared_memory();
void wait_for_block(Where where);
// Shows `bytes` to the warp and waits until all its lanes have shown theirs, which come back: of lane 0, 1, …
// `collective` is the same text in every lane, or the grid is wrong.
const Slot *exchange(const char *collective, const void *shown, std::size_t bytes, Where where);
unsigned lane();
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

using Body = void (*)(const void *parameters);
cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, std::size_t parameter_bytes, Body body,
                   const void *parameters);

// A pointer that a kernel gets is null or into memory of the device.
void check_pointer(const void *pointer, const void *kernel);
template <class Parameter>
void check_parameter(const Parameter &parameter, const void *kernel) {
    if constexpr (std::is_pointer_v<Parameter>) check_pointer(parameter, kernel);
}

template <class Value>
Value shown_by(const Slot &slot) {
    Value value;
    memcpy(&value, slot.bytes, sizeof value);
    return value;
}

template <class Value, class... Allowed>
concept one_of = (std::same_as<Value, Allowed> || ...);

void check_mask(unsigned mask, Where where);
void check_width(int width, Where where);

template <class Value>
Value shuffle(const char *name, unsigned mask, Value value, unsigned source, Where where) {
    static_assert(one_of<Value, int, unsigned, long, unsigned long, long long, unsigned long long, float, double>);
    check_mask(mask, where);
    return shown_by<Value>(exchange(name, &value, sizeof value, where)[source]);
}

// D += A·B as mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 has it, with its fragments: for lane 4g + t
// a: (g, 2t…), (g + 8, 2t…), (g, 2t + 8…), (g + 8, 2t + 8…); b: (2t…, g), (2t + 8…, g); d: (g, 2t…), (g + 8, 2t…).
void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                       Where where = Where::current());
// As mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4);
// b: (t, g), (t + 4, g); d as above. Only what tf32 has of the operands is read.
void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                      Where where = Where::current());

}  // namespace emulation

template <class... Expected, class... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Expected...), Actual &&...actual) {
    struct Call {
        void (*kernel)(Expected...);
        std::tuple<std::remove_cv_t<Expected>...> parameters;
    };
    const Call call{kernel, {std::forward<Actual>(actual)...}};
    const void *const address = reinterpret_cast<const void *>(kernel);
    std::size_t bytes = 0;
    ((bytes = (bytes + alignof(Expected) - 1) / alignof(Expected) * alignof(Expected) + sizeof(Expected)), ...);
    std::apply([&](const auto &...parameter) { (emulation::check_parameter(parameter, address), ...); },
               call.parameters);
    return emulation::launch(*config, address, bytes,
                             [](const void *of) {
                                 const Call &made = *static_cast<const Call *>(of);
                                 std::apply(made.kernel, made.parameters);
                             },
                             &call);
}

inline void __syncthreads(emulation::Where where = emulation::Where::current()) { emulation::wait_for_block(where); }

inline void __syncwarp(unsigned mask = 0xffffffffu, emulation::Where where = emulation::Where::current()) {
    emulation::check_mask(mask, where);
    emulation::exchange("__syncwarp", nullptr, 0, where);
}

inline void __threadfence() {}
inline void __threadfence_block() {}

template <class Value>
Value __shfl_sync(unsigned mask, Value value, int source, int width = 32,
                  emulation::Where where = emulation::Where::current()) {
    emulation::check_width(width, where);
    const unsigned lane = emulation::lane(), first = lane / width * width;
    return emulation::shuffle("__shfl_sync", mask, value, first + static_cast<unsigned>(source) % width, where);
}

template <class Value>
Value __shfl_up_sync(unsigned mask, Value value, unsigned distance, int width = 32,
                     emulation::Where where = emulation::Where::current()) {
    emulation::check_width(width, where);
    const unsigned lane = emulation::lane();
    return emulation::shuffle("__shfl_up_sync", mask, value, lane % width < distance ? lane : lane - distance, where);
}

template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned distance, int width = 32,
                       emulation::Where where = emulation::Where::current()) {
    emulation::check_width(width, where);
    const unsigned lane = emulation::lane(), after = width - 1 - lane % width;
    return emulation::shuffle("__shfl_down_sync", mask, value, after < distance ? lane : lane + distance, where);
}

template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, int distance, int width = 32,
                      emulation::Where where = emulation::Where::current()) {
    emulation::check_width(width, where);
    const unsigned lane = emulation::lane(), other = lane ^ static_cast<unsigned>(distance);
    // As on the device: earlier groups of lanes may be read, later ones may not.
    const unsigned end = lane / width * width + width;
    return emulation::shuffle("__shfl_xor_sync", mask, value, other < end ? other : lane, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulation::Where where = emulation::Where::current()) {
    emulation::check_mask(mask, where);
    const unsigned char own = predicate != 0;
    const emulation::Slot *const slots = emulation::exchange("__ballot_sync", &own, 1, where);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; ++lane) ballot |= unsigned{slots[lane].bytes[0] == 1} << lane;
    return ballot;
}

inline int __any_sync(unsigned mask, int predicate, emulation::Where where = emulation::Where::current()) {
    return __ballot_sync(mask, predicate, where) != 0;
}

inline int __all_sync(unsigned mask, int predicate, emulation::Where where = emulation::Where::current()) {
    return __ballot_sync(mask, !predicate, where) == 0;
}

// Threads are changed at barriers and collectives alone, so that nothing comes between.
template <class Value>
    requires emulation::one_of<Value, int, unsigned, unsigned long long, float, double>
Value atomicAdd(Value *target, std::type_identity_t<Value> value) {
    if constexpr (std::same_as<Value, int>)
        return std::exchange(*target, static_cast<int>(static_cast<unsigned>(*target) + static_cast<unsigned>(value)));
    else
        return std::exchange(*target, *target + value);
}

template <class Value>
concept AtomicInteger = emulation::one_of<Value, int, unsigned, unsigned long long>;

template <AtomicInteger Value>
Value atomicMin(Value *target, std::type_identity_t<Value> value) {
    return std::exchange(*target, std::min(*target, value));
}
template <AtomicInteger Value>
Value atomicMax(Value *target, std::type_identity_t<Value> value) {
    return std::exchange(*target, std::max(*target, value));
}
template <AtomicInteger Value>
Value atomicOr(Value *target, std::type_identity_t<Value> value) {
    return std::exchange(*target, *target | value);
}
template <AtomicInteger Value>
Value atomicAnd(Value *target, std::type_identity_t<Value> value) {
    return std::exchange(*target, *target & value);
}
template <class Value>
    requires emulation::one_of<Value, int, unsigned, unsigned long long, float>
Value atomicExch(Value *target, std::type_identity_t<Value> value) {
    return std::exchange(*target, value);
}
template <AtomicInteger Value>
Value atomicCAS(Value *target, std::type_identity_t<Value> expected, std::type_identity_t<Value> value) {
    return std::exchange(*target, *target == expected ? value : *target);
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return std::countl_zero(static_cast<unsigned long long>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline unsigned long long __brevll(unsigned long long bits) {
    unsigned long long reversed = 0;
    for (int i = 0; i < 64; ++i) reversed |= (bits >> i & 1) << (63 - i);
    return reversed;
}
inline unsigned __brev(unsigned bits) { return static_cast<unsigned>(__brevll(bits) >> 32); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
template <class Value>
Value __ldg(const Value *place) {
    return *place;
}

inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

template <class Value>
constexpr Value min(Value a, Value b) {
    if constexpr (std::floating_point<Value>)
        return static_cast<Value>(fmin(a, b));
    else
        return b < a ? b : a;
}
template <class Value>
constexpr Value max(Value a, Value b) {
    if constexpr (std::floating_point<Value>)
        return static_cast<Value>(fmax(a, b));
    else
        return a < b ? b : a;
}
