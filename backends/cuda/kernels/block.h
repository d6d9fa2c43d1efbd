// What the threads of a warp and of a block compute together. All of them must call, also those without an item.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backends/cuda/kernels/launch.h"

namespace speft::cuda {

inline constexpr unsigned full_warp = 0xffffffffu;

__device__ inline unsigned lane() { return threadIdx.x % warp_threads; }
__device__ inline unsigned warp() { return threadIdx.x / warp_threads; }

// The sum of all lanes, in every lane; always grouped alike.
template <class Value>
__device__ inline Value warp_sum(Value value) {
    for (unsigned distance = warp_threads / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(full_warp, value, distance);
    return value;
}

template <class Value>
__device__ inline Value warp_max(Value value) {
    for (unsigned distance = warp_threads / 2; distance > 0; distance /= 2) {
        const Value other = __shfl_xor_sync(full_warp, value, distance);
        if (other > value) value = other;
    }
    return value;
}

// The sum of the lanes before this one.
template <class Value>
__device__ inline Value warp_sum_before(Value value) {
    Value sum = value;
    for (unsigned distance = 1; distance < warp_threads; distance *= 2) {
        const Value other = __shfl_up_sync(full_warp, sum, distance);
        if (lane() >= distance) sum += other;
    }
    return sum - value;
}

// The sum over a block of `threads`, in every thread.
template <unsigned threads = block_threads, class Value>
__device__ inline Value block_sum(Value value) {
    constexpr unsigned warps = threads / warp_threads;
    __shared__ Value sums[warps];
    value = warp_sum(value);
    if (lane() == 0) sums[warp()] = value;
    __syncthreads();
    Value total = sums[0];
    for (unsigned w = 1; w < warps; ++w) total += sums[w];
    __syncthreads();  // before the next call writes
    return total;
}

// The sum over the threads of the block before this one; the whole sum in `total`.
template <unsigned threads = block_threads, class Value>
__device__ inline Value block_sum_before(Value value, Value &total) {
    constexpr unsigned warps = threads / warp_threads;
    __shared__ Value sums[warps];
    const Value before_in_warp = warp_sum_before(value);
    if (lane() == warp_threads - 1) sums[warp()] = before_in_warp + value;
    __syncthreads();
    Value before = 0;
    total = 0;
    for (unsigned w = 0; w < warps; ++w) {
        if (w == warp()) before = total;
        total += sums[w];
    }
    __syncthreads();
    return before + before_in_warp;
}

}  // namespace speft::cuda
