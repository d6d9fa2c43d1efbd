// The rank keys of scores on the device, by the one definition in core/base/score.h: of any formula, one thread a
// scalar, with what is excluded as 0.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/scalars.h"
#include "core/base/score.h"
#include "core/base/score_bracket.h"

namespace speft::cuda {

// Keys of scalars at equal distances. Where they have a row's and a column's factors, these are followed from one
// scalar to the next: dividing for each would take longer than its score.
template <class Scalar>
class KeyWalk {
public:
    __device__ KeyWalk(const speft_score &score, std::uint64_t first, std::uint32_t stride)
        : score_(score), index_(first), stride_(stride) {
        if (!has_factors(score.formula)) return;
        row_ = index_ / score_.columns;
        column_ = index_ % score_.columns;
        row_stride_ = stride / score_.columns;
        column_stride_ = stride % score_.columns;
    }

    // Of this one.
    __device__ std::uint32_t key() const {
        if (!has_factors(score_.formula)) return rank_key(compute_score<Scalar>(score_, index_));
        // Its row as a matrix of its own, of columns that are more than it has: to find a row and a column in it takes
        // no division.
        speft_score alone = score_;
        if (alone.weights) alone.weights = static_cast<const Scalar *>(alone.weights) + (index_ - column_);
        if (alone.left) alone.left += row_ * alone.rank;
        alone.columns = std::uint64_t{1} << 32;
        return rank_key(compute_score<Scalar>(alone, column_));
    }

    __device__ void advance() {
        index_ += stride_;
        row_ += row_stride_;
        column_ += column_stride_;
        if (column_ < score_.columns) return;
        column_ -= score_.columns;
        ++row_;
    }

private:
    const speft_score score_;
    std::uint64_t index_;
    std::uint64_t row_ = 0;
    std::uint64_t column_ = 0;
    std::uint32_t stride_;
    std::uint64_t row_stride_ = 0;
    std::uint64_t column_stride_ = 0;
};

__device__ inline std::uint32_t compute_key(const speft_score &score, std::uint64_t index) {
    std::uint32_t key = 0;
    visit_scalar(score.weights_type,
                 [&](auto scalar) { key = rank_key(compute_score<decltype(scalar)>(score, index)); });
    return key;
}

// The place of the first of `count` rising values that is at least `value`.
__device__ inline std::uint64_t find_place(const std::uint32_t *values, std::uint64_t count, std::uint64_t value) {
    std::uint64_t low = 0, high = count;
    while (low < high) {
        const std::uint64_t middle = low + (high - low) / 2;
        if (values[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Places [begin, end) of a tensor's list of the excluded.
struct ExcludedRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

__device__ inline ExcludedRange find_excluded(const speft_score &score, std::uint64_t first, std::uint64_t end) {
    if (score.excluded_count == 0) return {};
    return {find_place(score.excluded, score.excluded_count, first),
            find_place(score.excluded, score.excluded_count, end)};
}

// What a block works on at a time: so many scalars of one tensor, with a bit for each in shared memory.
inline constexpr std::uint32_t tile_size = 16384;
inline constexpr std::uint32_t tile_words = tile_size / 32;
static_assert(tile_size % block_threads == 0);

struct Tile {
    std::uint64_t begin;
    std::uint32_t size;  // 1 … tile_size
};

__host__ __device__ inline std::uint64_t count_tiles(std::uint64_t scalars) {
    return (scalars + tile_size - 1) / tile_size;
}

// The tile number `index` of [begin, end).
__device__ inline Tile make_tile(std::uint64_t begin, std::uint64_t end, std::uint64_t index) {
    const std::uint64_t first = begin + index * tile_size;
    return {first, static_cast<std::uint32_t>(min(end - first, std::uint64_t{tile_size}))};
}

// body(offset, key) for each scalar of the tile, in all threads of a block. A warp's calls go together, also past the
// tile's end, and are for 32 neighbours from a multiple of 32 on. The key is 0 for what is excluded and past the end.
template <class Body>
__device__ inline void visit_keys(const speft_score &score, Tile tile, Body body) {
    __shared__ std::uint32_t excluded[tile_words];
    const bool excludes = score.excluded_count > 0;
    if (excludes) {
        __syncthreads();  // a tile before may still be read
        for (std::uint32_t word = threadIdx.x; word < tile_words; word += block_threads) excluded[word] = 0;
        __syncthreads();
        const ExcludedRange range = find_excluded(score, tile.begin, tile.begin + tile.size);
        for (std::uint64_t place = range.begin + threadIdx.x; place < range.end; place += block_threads) {
            const auto offset = static_cast<std::uint32_t>(score.excluded[place] - tile.begin);
            atomicOr(&excluded[offset / 32], 1u << offset % 32);
        }
        __syncthreads();
    }
    visit_scalar(score.weights_type, [&](auto scalar) {
        KeyWalk<decltype(scalar)> walk(score, tile.begin + threadIdx.x, block_threads);
        for (std::uint32_t offset = threadIdx.x; offset - threadIdx.x < tile.size; offset += block_threads) {
            std::uint32_t key = offset < tile.size ? walk.key() : 0;
            if (excludes && (excluded[offset / 32] >> offset % 32 & 1) != 0) key = 0;
            body(offset, key);
            walk.advance();
        }
    });
}

}  // namespace speft::cuda
