// How kernels are launched, and how their threads divide the work. Everything here is plain CUDA without its syntax
// extensions for launches, so that any C++ compiler takes it: the tests run the same kernels on the CPU, in an
// emulation that provides <cuda_runtime.h> (tests/emulation).
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backends/cuda/device.h"

namespace speft::cuda {

inline constexpr unsigned block_threads = 256;  // of every kernel that has no reason for another number
inline constexpr unsigned warp_threads = 32;

struct Grid {
    dim3 blocks;
    unsigned threads = block_threads;
    std::size_t shared_bytes = 0;  // dynamic
};

// Nothing is launched for no blocks. `name` is for the message of a failure.
template <class... Parameters, class... Arguments>
void launch(const speft_backend_device &device, const char *name, const Grid &grid, void (*kernel)(Parameters...),
            Arguments &&...arguments) {
    if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
    constexpr std::size_t without_asking = 48 << 10;
    if (grid.shared_bytes > without_asking)
        check(cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(grid.shared_bytes)),
              name);
    cudaLaunchConfig_t config{};
    config.gridDim = grid.blocks;
    config.blockDim = dim3(grid.threads);
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = device.stream;
    check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...), name);
}

// As many blocks as keep the GPU busy with `tasks` (of a block's `per_block` each), for kernels whose blocks take one
// task after another: for (task = blockIdx.x; task < …; task += gridDim.x).
inline unsigned count_blocks(const speft_backend_device &device, std::uint64_t tasks, std::uint64_t per_block = 1,
                             unsigned blocks_per_multiprocessor = 8) {
    const std::uint64_t wanted = (tasks + per_block - 1) / per_block;
    return static_cast<unsigned>(
        std::min<std::uint64_t>(wanted, std::uint64_t{blocks_per_multiprocessor} * device.multiprocessors));
}

// A thread's first item and its stride, of a grid that shares out items one a thread.
__device__ inline std::uint64_t first_item() { return std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline std::uint64_t item_stride() { return std::uint64_t{gridDim.x} * blockDim.x; }

// The block's dynamic shared memory, aligned to 16.
template <class Element>
__device__ inline Element *dynamic_shared() {
#ifdef SPEFT_CUDA_EMULATED
    return static_cast<Element *>(emulation::dynamic_shared_memory());
#else
    extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
    return reinterpret_cast<Element *>(dynamic_shared_bytes);
#endif
}

}  // namespace speft::cuda
