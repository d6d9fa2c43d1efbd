// Prefix sums of a long table of counts, in three launches: of groups of entries, of the groups, and of each.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/block.h"

namespace speft::cuda {

inline constexpr std::uint64_t entries_per_thread = 4;
inline constexpr std::uint64_t entries_per_group = entries_per_thread * block_threads;

// So many uint64 of scratch for `entries` entries of `width` counts.
constexpr std::uint64_t count_group_sums(std::uint64_t entries, unsigned width) {
    return (entries + entries_per_group - 1) / entries_per_group * width;
}

template <unsigned width>
__global__ void sum_groups(const std::uint64_t *table, std::uint64_t entries, std::uint64_t *sums) {
    const std::uint64_t begin = blockIdx.x * entries_per_group, end = min(begin + entries_per_group, entries);
    for (unsigned column = 0; column < width; ++column) {
        std::uint64_t own = 0;
        for (std::uint64_t i = begin + threadIdx.x; i < end; i += block_threads) own += table[i * width + column];
        own = block_sum(own);
        if (threadIdx.x == 0) sums[blockIdx.x * width + column] = own;
    }
}

// One block: sums[i] = the sum of those before it.
template <unsigned width>
__global__ void sum_before_groups(std::uint64_t *sums, std::uint64_t groups) {
    for (unsigned column = 0; column < width; ++column) {
        std::uint64_t before = 0, total;
        for (std::uint64_t first = 0; first < groups; first += block_threads, before += total) {
            const std::uint64_t i = first + threadIdx.x;
            const std::uint64_t own = i < groups ? sums[i * width + column] : 0;
            const std::uint64_t place = before + block_sum_before(own, total);
            if (i < groups) sums[i * width + column] = place;
        }
    }
}

template <unsigned width>
__global__ void sum_before_entries(std::uint64_t *table, std::uint64_t entries, const std::uint64_t *sums) {
    const std::uint64_t begin = blockIdx.x * entries_per_group + threadIdx.x * entries_per_thread;
    for (unsigned column = 0; column < width; ++column) {
        std::uint64_t counts[entries_per_thread], own = 0, total;
        for (unsigned i = 0; i < entries_per_thread; ++i) {
            counts[i] = begin + i < entries ? table[(begin + i) * width + column] : 0;
            own += counts[i];
        }
        std::uint64_t place = sums[blockIdx.x * width + column] + block_sum_before(own, total);
        for (unsigned i = 0; i < entries_per_thread; ++i) {
            if (begin + i < entries) table[(begin + i) * width + column] = place;
            place += counts[i];
        }
    }
}

// table[i] = the sum of the entries before it, for each of `width` columns. The last entry may be there for the sake of
// the total.
template <unsigned width>
void sum_before(const speft_backend_device &device, const char *name, std::uint64_t *table, std::uint64_t entries,
                std::uint64_t *sums) {
    const std::uint64_t groups = count_group_sums(entries, 1);
    const Grid grid{.blocks = static_cast<unsigned>(groups)};
    launch(device, name, grid, sum_groups<width>, table, entries, sums);
    launch(device, name, {.blocks = 1}, sum_before_groups<width>, sums, groups);
    launch(device, name, grid, sum_before_entries<width>, table, entries, sums);
}

}  // namespace speft::cuda
