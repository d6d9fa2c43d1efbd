// A tile of a weight's gradient, 128 by 128, in the registers of a block of 256 threads: two ways to multiply it, and
// the walk over tokens that both share. Tokens come in slabs through shared memory; while a slab is multiplied, the
// next one is on its way into registers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backends/cuda/kernels/gradient_cost.h"
#include "backends/cuda/kernels/gradient_factors.h"
#include "backends/cuda/kernels/tensor_core.h"

namespace speft::cuda {

inline constexpr unsigned tile_side = gradient_tile_side;
inline constexpr unsigned tile_values = tile_side * tile_side / block_threads;  // a thread's

// Where a block's tile begins, of tiles that lie row by row.
struct TileOrigin {
    std::uint64_t row, column;
};

__device__ inline TileOrigin find_origin(const GradientFactors &factors) {
    const std::uint64_t across = (factors.columns.width + tile_side - 1) / tile_side;
    return {blockIdx.x / across * tile_side, blockIdx.x % across * tile_side};
}

inline unsigned count_tiles(const GradientFactors &factors) {
    return static_cast<unsigned>(divide_up(factors.rows.width, tile_side) *
                                 divide_up(factors.columns.width, tile_side));
}

// bfloat16 by bfloat16 on tensor cores: eight warps, two by four, of 64 by 32 each.
class TensorCoreTile {
public:
    static constexpr unsigned slab_tokens = 32;

    __device__ TensorCoreTile(const GradientFactors &factors, TileOrigin origin, void *shared)
        : rows_(factors.rows, origin.row), columns_(factors.columns, origin.column),
          slabs_(static_cast<std::uint16_t *>(shared)) {
        clear();
    }

    __device__ void clear() {
        for (auto &row : sums_)
            for (auto &fragment : row)
                for (float &sum : fragment) sum = 0;
    }

    // A slab's tokens [token, end), into registers; those past the end are zeros.
    __device__ void fetch(std::uint64_t token, std::uint64_t end) {
        rows_.fetch(token, end);
        columns_.fetch(token, end);
    }

    __device__ void store(unsigned buffer) {
        rows_.store(slab(buffer));
        columns_.store(slab(buffer) + slab_size);
    }

    __device__ void multiply(unsigned buffer) {
        const std::uint16_t *const rows = slab(buffer), *const columns = rows + slab_size;
        const unsigned row = first_row(), column = first_column(), matrix = lane() / 8;
#pragma unroll
        for (unsigned token = 0; token < slab_tokens; token += 16) {
            std::uint32_t b[4][2];
#pragma unroll
            for (unsigned n = 0; n < 4; n += 2) {
                std::uint32_t pairs[4];
                load_turned(pairs, columns + (token + lane() % 8 + matrix % 2 * 8) * pitch + column + n * 8 +
                                       matrix / 2 * 8);
                b[n][0] = pairs[0], b[n][1] = pairs[1];
                b[n + 1][0] = pairs[2], b[n + 1][1] = pairs[3];
            }
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
                std::uint32_t a[4];
                load_turned(a, rows + (token + lane() % 8 + matrix / 2 * 8) * pitch + row + m * 16 + matrix % 2 * 8);
#pragma unroll
                for (unsigned n = 0; n < 4; ++n) mma_m16n8k16(sums_[m][n], a, b[n]);
            }
        }
    }

    // visitor(row, column, sum, slot) for each of the thread's sums; slots count from 0.
    template <class Visitor>
    __device__ void visit(Visitor &&visitor) const {
        const unsigned row = first_row() + lane() / 4, column = first_column() + lane() % 4 * 2;
#pragma unroll
        for (unsigned m = 0; m < 4; ++m)
#pragma unroll
            for (unsigned n = 0; n < 4; ++n)
#pragma unroll
                for (unsigned i = 0; i < 4; ++i)
                    visitor(row + m * 16 + i / 2 * 8, column + n * 8 + i % 2, sums_[m][n][i], (m * 4 + n) * 4 + i);
    }

private:
    static constexpr unsigned pitch = tile_side + 8;  // eight tokens' rows lie in different banks
    static constexpr unsigned slab_size = slab_tokens * pitch;

    // What a thread takes of one factor: 8 columns of two tokens of a slab.
    class Strip {
    public:
        __device__ Strip(const GradientFactor &factor, std::uint64_t first) : stride_(factor.stride) {
            const std::uint64_t column = first + threadIdx.x % 16 * 8;
            columns_ = column < factor.width ? static_cast<unsigned>(min(factor.width - column, std::uint64_t{8})) : 0;
            values_ = static_cast<const std::uint16_t *>(factor.values) + column;
            whole_ = columns_ == 8 && stride_ % 8 == 0 && reinterpret_cast<std::uintptr_t>(values_) % 16 == 0;
        }

        __device__ void fetch(std::uint64_t token, std::uint64_t end) {
#pragma unroll
            for (unsigned i = 0; i < 2; ++i) {
                const std::uint64_t own = token + threadIdx.x / 16 + i * 16;
                fetched_[i] = make_uint4(0, 0, 0, 0);
                if (own >= end) continue;
                const std::uint16_t *const at = values_ + own * stride_;
                if (whole_)
                    fetched_[i] = *reinterpret_cast<const uint4 *>(at);
                else
                    fetched_[i] = make_uint4(pair(at, 0), pair(at, 2), pair(at, 4), pair(at, 6));
            }
        }

        __device__ void store(std::uint16_t *slab) const {
#pragma unroll
            for (unsigned i = 0; i < 2; ++i)
                *reinterpret_cast<uint4 *>(slab + (threadIdx.x / 16 + i * 16) * pitch + threadIdx.x % 16 * 8) =
                    fetched_[i];
        }

    private:
        __device__ std::uint32_t pair(const std::uint16_t *at, unsigned column) const {
            const std::uint32_t first = column < columns_ ? at[column] : 0;
            const std::uint32_t second = column + 1 < columns_ ? at[column + 1] : 0;
            return first | second << 16;
        }

        const std::uint16_t *values_;
        std::uint64_t stride_;
        unsigned columns_;
        bool whole_;
        uint4 fetched_[2];
    };

    __device__ static unsigned first_row() { return warp() / 4 * 64; }
    __device__ static unsigned first_column() { return warp() % 4 * 32; }
    __device__ std::uint16_t *slab(unsigned buffer) const { return slabs_ + buffer * 2 * slab_size; }

    Strip rows_, columns_;
    std::uint16_t *slabs_;  // two buffers of two factors
    float sums_[4][4][4];

public:
    static constexpr std::size_t shared_bytes = 4 * slab_size * sizeof(std::uint16_t);
};

// Any types, in float32: 16 by 16 threads, of 8 by 8 sums each.
class PlainTile {
public:
    static constexpr unsigned slab_tokens = 16;

    __device__ PlainTile(const GradientFactors &factors, TileOrigin origin, void *shared)
        : rows_(factors.rows, origin.row), columns_(factors.columns, origin.column),
          slabs_(static_cast<float *>(shared)) {
        clear();
    }

    __device__ void clear() {
        for (auto &row : sums_)
            for (float &sum : row) sum = 0;
    }

    __device__ void fetch(std::uint64_t token, std::uint64_t end) {
        rows_.fetch(token, end);
        columns_.fetch(token, end);
    }

    __device__ void store(unsigned buffer) {
        rows_.store(slab(buffer));
        columns_.store(slab(buffer) + slab_size);
    }

    __device__ void multiply(unsigned buffer) {
        const float *const rows = slab(buffer) + threadIdx.x / 16 * 4;
        const float *const columns = slab(buffer) + slab_size + threadIdx.x % 16 * 4;
#pragma unroll 2
        for (unsigned token = 0; token < slab_tokens; ++token) {
            float a[8], b[8];
            load(rows + token * tile_side, a);
            load(columns + token * tile_side, b);
#pragma unroll
            for (unsigned r = 0; r < 8; ++r)
#pragma unroll
                for (unsigned c = 0; c < 8; ++c) sums_[r][c] = fmaf(a[r], b[c], sums_[r][c]);
        }
    }

    template <class Visitor>
    __device__ void visit(Visitor &&visitor) const {
        const unsigned row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
#pragma unroll
        for (unsigned r = 0; r < 8; ++r)
#pragma unroll
            for (unsigned c = 0; c < 8; ++c)
                visitor(row + r / 4 * 64 + r % 4, column + c / 4 * 64 + c % 4, sums_[r][c], r * 8 + c);
    }

private:
    static constexpr unsigned slab_size = slab_tokens * tile_side;
    static constexpr unsigned rows_a_round = block_threads / tile_side;

    // What a thread takes of one factor: a column of every other token of a slab.
    class Strip {
    public:
        __device__ Strip(const GradientFactor &factor, std::uint64_t first)
            : factor_(factor), column_(first + threadIdx.x % tile_side) {}

        __device__ void fetch(std::uint64_t token, std::uint64_t end) {
            visit_scalar(factor_.type, [&](auto scalar) {
                const auto *const values = static_cast<const decltype(scalar) *>(factor_.values) + column_;
#pragma unroll
                for (unsigned i = 0; i < slab_tokens / rows_a_round; ++i) {
                    const std::uint64_t own = token + threadIdx.x / tile_side + i * rows_a_round;
                    fetched_[i] =
                        own < end && column_ < factor_.width ? to_float(values[own * factor_.stride]) : 0.0f;
                }
            });
        }

        __device__ void store(float *slab) const {
#pragma unroll
            for (unsigned i = 0; i < slab_tokens / rows_a_round; ++i)
                slab[threadIdx.x + i * block_threads] = fetched_[i];
        }

    private:
        const GradientFactor &factor_;
        const std::uint64_t column_;
        float fetched_[slab_tokens / rows_a_round];
    };

    __device__ static void load(const float *from, float (&values)[8]) {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            const float4 four = *reinterpret_cast<const float4 *>(from + half * 64);
            values[half * 4] = four.x, values[half * 4 + 1] = four.y;
            values[half * 4 + 2] = four.z, values[half * 4 + 3] = four.w;
        }
    }

    __device__ float *slab(unsigned buffer) const { return slabs_ + buffer * 2 * slab_size; }

    Strip rows_, columns_;
    float *slabs_;
    float sums_[8][8];

public:
    static constexpr std::size_t shared_bytes = 4 * slab_size * sizeof(float);
};

// Ranges of tokens to sum over: ranges.count() of them, [begin(i), end(i)) each. done(tile) is called after each that
// is not empty but the last, and then the sums start again from 0; true when there was a last one, which the tile
// holds.
template <class Tile, class Ranges, class Done>
__device__ bool multiply_ranges(Tile &tile, const Ranges &ranges, Done &&done) {
    struct Slab {
        std::uint64_t range, token, end;

        __device__ void skip_empty(const Ranges &all) {
            while (token >= end && ++range < all.count()) token = all.begin(range), end = all.end(range);
        }
        __device__ void advance(const Ranges &all) {
            token += Tile::slab_tokens;
            skip_empty(all);
        }
        __device__ bool exists() const { return token < end; }
    };
    if (ranges.count() == 0) return false;
    Slab now = {0, ranges.begin(0), ranges.end(0)};
    now.skip_empty(ranges);
    if (!now.exists()) return false;
    tile.fetch(now.token, now.end);
    tile.store(0);
    __syncthreads();
    for (unsigned buffer = 0;; buffer ^= 1) {
        const std::uint64_t range = now.range;
        now.advance(ranges);
        if (now.exists()) tile.fetch(now.token, now.end);
        tile.multiply(buffer);
        if (!now.exists()) return true;
        if (now.range != range) {
            done(tile);
            tile.clear();
        }
        tile.store(buffer ^ 1);  // nobody reads it: what was there was multiplied before the last barrier
        __syncthreads();
    }
}

// All tokens.
template <class Tile>
__device__ void multiply_tokens(Tile &tile, std::uint64_t tokens) {
    tile.fetch(0, tokens);
    tile.store(0);
    __syncthreads();
    unsigned buffer = 0;
    for (std::uint64_t next = Tile::slab_tokens; next < tokens; next += Tile::slab_tokens) {
        tile.fetch(next, tokens);
        tile.multiply(buffer);
        buffer ^= 1;
        tile.store(buffer);  // nobody reads it: what was there was multiplied before the last barrier
        __syncthreads();
    }
    tile.multiply(buffer);
}

}  // namespace speft::cuda
