// Arrays of different lengths in one launch. Their descriptions travel as the kernel's parameter: no table in device
// memory, no copy to wait for, and a captured graph has them in it.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/launch.h"

namespace speft::cuda {

// What a launch may take as parameters, since CUDA 12.1 on compute capability 7.0; some are left for other ones. In the
// emulation every thread copies them: little there, which also gives the tests groups of more than one batch.
#ifdef SPEFT_CUDA_EMULATED
inline constexpr std::size_t parameter_bytes = 2048;
#else
inline constexpr std::size_t parameter_bytes = 32764 - 512;
#endif

// Some arrays of a group: `items` describe them, and the blocks of array i are [first_block[i], first_block[i + 1]).
template <class Item>
struct Batch {
    static constexpr std::uint32_t capacity = (parameter_bytes - 32) / (sizeof(Item) + sizeof(std::uint32_t));
    std::uint64_t first = 0;  // the place of items[0] in the whole group
    std::uint64_t blocks_before = 0;  // blocks of earlier batches
    std::uint32_t count = 0;
    std::uint32_t first_block[capacity + 1];
    Item items[capacity];
};

// Which array a block works on, and its place among that array's blocks.
struct BlockTask {
    std::uint32_t item;
    std::uint64_t block;
};

template <class Item>
__host__ __device__ inline BlockTask find_task(const Batch<Item> &batch, std::uint32_t block) {
    std::uint32_t low = 0, high = batch.count;
    while (high - low > 1) {
        const std::uint32_t middle = (low + high) / 2;
        if (batch.first_block[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    return {low, block - batch.first_block[low]};
}

// launch(batch, blocks) for as many batches as the group needs. length(item) is how long an array is, of which a block
// takes `per_block` elements; an empty one gets no block. An array of more blocks than a batch's counter holds
// is not among what 32-bit indices reach.
template <class Item, class Length, class Launch>
void for_each_batch(const Item *items, std::uint64_t count, std::uint64_t per_block, Length &&length, Launch &&launch) {
    Batch<Item> batch;
    std::uint32_t blocks = 0;
    const auto flush = [&](std::uint64_t next) {
        batch.first_block[batch.count] = blocks;
        if (blocks > 0) launch(static_cast<const Batch<Item> &>(batch), blocks);
        batch.blocks_before += blocks;
        batch.first = next;
        batch.count = 0;
        blocks = 0;
    };
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t needed = (length(items[i]) + per_block - 1) / per_block;
        if (batch.count == Batch<Item>::capacity || blocks + needed > INT32_MAX) flush(i);
        batch.first_block[batch.count] = blocks;
        batch.items[batch.count++] = items[i];
        blocks += static_cast<std::uint32_t>(needed);
    }
    flush(count);
}

// How many blocks all batches have together: for scratch that holds something of each.
template <class Item, class Length>
std::uint64_t count_group_blocks(const Item *items, std::uint64_t count, std::uint64_t per_block, Length &&length) {
    std::uint64_t blocks = 0;
    for (std::uint64_t i = 0; i < count; ++i) blocks += (length(items[i]) + per_block - 1) / per_block;
    return blocks;
}

}  // namespace speft::cuda
