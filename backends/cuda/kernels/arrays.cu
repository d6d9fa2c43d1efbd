// Operations on whole arrays: small copies to the device, scaling, sums of squares.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

struct Chunk {
    static constexpr std::uint64_t capacity = 4096;
    unsigned char bytes[capacity];
};

__global__ void store_chunk(const __grid_constant__ Chunk chunk, unsigned char *target, std::uint32_t bytes) {
    for (std::uint32_t i = threadIdx.x; i < bytes; i += blockDim.x) target[i] = chunk.bytes[i];
}

struct Values {
    float *values;
    std::uint64_t count;
};

constexpr std::uint64_t values_per_block = 4096;

__global__ void scale_values(const __grid_constant__ Batch<Values> batch, float factor) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Values &array = batch.items[task.item];
    const std::uint64_t begin = task.block * values_per_block, end = min(begin + values_per_block, array.count);
    for (std::uint64_t i = begin + threadIdx.x; i < end; i += blockDim.x) array.values[i] *= factor;
}

// partial[block] = the sum of the block's squares.
__global__ void sum_block_squares(const __grid_constant__ Batch<Values> batch, double *partial) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Values &array = batch.items[task.item];
    const std::uint64_t begin = task.block * values_per_block, end = min(begin + values_per_block, array.count);
    double sum = 0;
    for (std::uint64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const double value = array.values[i];
        sum += value * value;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[batch.blocks_before + blockIdx.x] = sum;
}

// One block adds up what the others found.
__global__ void sum_partials(const double *partial, std::uint64_t count, double *sum) {
    double own = 0;
    for (std::uint64_t i = threadIdx.x; i < count; i += blockDim.x) own += partial[i];
    own = block_sum(own);
    if (threadIdx.x == 0) *sum = own;
}

template <class Launch>
void for_each_values(float *const *values, const std::uint64_t *counts, std::uint64_t arrays, Launch &&launch) {
    std::vector<Values> group(arrays);
    for (std::uint64_t i = 0; i < arrays; ++i) group[i] = {values[i], counts[i]};
    for_each_batch(group.data(), arrays, values_per_block, [](const Values &array) { return array.count; }, launch);
}

std::uint64_t count_partials(const std::uint64_t *counts, std::uint64_t arrays) {
    return count_group_blocks(counts, arrays, values_per_block, [](std::uint64_t count) { return count; });
}

}  // namespace

void upload(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes) {
    for (std::uint64_t done = 0; done < bytes; done += Chunk::capacity) {
        Chunk chunk;
        const std::uint64_t length = std::min(bytes - done, Chunk::capacity);
        std::memcpy(chunk.bytes, static_cast<const unsigned char *>(source) + done, length);
        launch(device, "upload", {.blocks = 1}, store_chunk, chunk, static_cast<unsigned char *>(target) + done,
               static_cast<std::uint32_t>(length));
    }
}

void scale(speft_backend_device &device, const speft_scale &arguments, void *) {
    for_each_values(arguments.values, arguments.counts, arguments.arrays, [&](const Batch<Values> &batch, unsigned blocks) {
        launch(device, "scale", {.blocks = blocks}, scale_values, batch, arguments.factor);
    });
}

std::uint64_t sum_squares_scratch(const speft_backend_device &, const speft_sum_squares &arguments) {
    return (count_partials(arguments.counts, arguments.arrays) + 1) * sizeof(double);
}

void sum_squares(speft_backend_device &device, const speft_sum_squares &arguments, void *scratch) {
    double *const sum = static_cast<double *>(scratch), *const partial = sum + 1;
    // Read only; the group of `scale` has no other type.
    for_each_values(const_cast<float *const *>(arguments.values), arguments.counts, arguments.arrays,
                    [&](const Batch<Values> &batch, unsigned blocks) {
                        launch(device, "sum_squares", {.blocks = blocks}, sum_block_squares, batch, partial);
                    });
    launch(device, "sum_squares", {.blocks = 1}, sum_partials, partial,
           count_partials(arguments.counts, arguments.arrays), sum);
    read(device, arguments.sum, sum, sizeof *arguments.sum);
}

}  // namespace speft::cuda
