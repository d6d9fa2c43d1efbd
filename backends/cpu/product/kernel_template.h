// The kernels of kernels.h for vectors of any width. Each instruction set compiles this with options of its own, so
// everything here has internal linkage and calls nothing that is shared: the linker must never take an AVX-512 copy
// of a function for all.
#pragma once

#include <cstdint>
#include <utility>

#include "backends/cpu/product/kernels.h"

namespace speft::cpu {
namespace {

// Vectors of `lanes` floats; `tile_rows` × `tile_vectors` of them are the sums of a tile, which have to fit the
// registers.
template <int lanes, int tile_rows, int tile_vectors>
struct KernelTemplate {
    static_assert(lanes <= max_lanes && tile_rows * tile_vectors * lanes <= max_tile);
    typedef float Vector __attribute__((vector_size(lanes * sizeof(float))));

    static Vector load(const float *source) {
        Vector vector;
        __builtin_memcpy(&vector, source, sizeof vector);
        return vector;
    }

    static void store(float *target, Vector vector) { __builtin_memcpy(target, &vector, sizeof vector); }

    // a0 b0 a1 b1 … of the low or the high halves.
    template <int start, int... i>
    static Vector interleave(Vector a, Vector b, std::integer_sequence<int, i...>) {
        return __builtin_shufflevector(a, b, (start + i / 2 + i % 2 * lanes)...);
    }

    // Interleaving the first with the second half of the rows, log2(lanes) times, transposes them.
    static void transpose(const float *tile, std::uint64_t stride, std::uint64_t columns, float *panel,
                          std::uint64_t panel_stride) {
        constexpr auto order = std::make_integer_sequence<int, lanes>{};
        for (std::uint64_t column = 0; column < columns; column += lanes) {
            Vector rows[lanes];
            for (int i = 0; i < lanes; ++i) rows[i] = load(tile + i * stride + column);
#pragma GCC unroll 4
            for (int pass = 1; pass < lanes; pass *= 2) {
                Vector mixed[lanes];
#pragma GCC unroll 16
                for (int i = 0; i < lanes / 2; ++i) {
                    mixed[2 * i] = interleave<0>(rows[i], rows[i + lanes / 2], order);
                    mixed[2 * i + 1] = interleave<lanes / 2>(rows[i], rows[i + lanes / 2], order);
                }
#pragma GCC unroll 16
                for (int i = 0; i < lanes; ++i) rows[i] = mixed[i];
            }
            for (int i = 0; i < lanes; ++i) store(panel + (column + i) * panel_stride, rows[i]);
        }
    }

    static float sum(Vector vector) {
        float sums[lanes];
        store(sums, vector);
        for (int width = lanes / 2; width > 0; width /= 2)
            for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
        return sums[0];
    }

    // Enough chains of additions to hide their latency.
    static constexpr int chains = 4;

    static float dot(const float *a, const float *b, std::uint64_t count) {
        Vector sums[chains] = {};
        for (std::uint64_t i = 0; i < count; i += chains * lanes)
#pragma GCC unroll 4
            for (int chain = 0; chain < chains; ++chain)
                sums[chain] += load(a + i + chain * lanes) * load(b + i + chain * lanes);
        return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }

    static void add_sampled(const float *rows, const float *columns, std::uint64_t panel_stride,
                            std::uint64_t tokens, std::uint32_t width, const std::uint32_t *indices,
                            std::uint64_t count, float scale, float *sums) {
        for (std::uint64_t j = 0; j < count; ++j) {
            const std::uint32_t row = indices[j] / width;
            const std::uint32_t column = indices[j] % width;
            sums[j] += scale * dot(rows + row * panel_stride, columns + column * panel_stride, tokens);
        }
    }

    static void multiply_tile(const float *rows, const float *columns, std::uint64_t tokens, float *product) {
        Vector sums[tile_rows][tile_vectors] = {};
        for (std::uint64_t token = 0; token < tokens; ++token) {
            Vector right[tile_vectors];
#pragma GCC unroll 4
            for (int v = 0; v < tile_vectors; ++v) right[v] = load(columns + v * lanes);
#pragma GCC unroll 16
            for (int row = 0; row < tile_rows; ++row)
#pragma GCC unroll 4
                for (int v = 0; v < tile_vectors; ++v) sums[row][v] += right[v] * rows[row];
            rows += tile_rows;
            columns += tile_vectors * lanes;
        }
        for (int row = 0; row < tile_rows; ++row)
            for (int v = 0; v < tile_vectors; ++v)
                store(product + (row * tile_vectors + v) * lanes, sums[row][v]);
    }

    static constexpr ProductKernels kernels = {
        .transpose = transpose,
        .lanes = lanes,
        .add_sampled = add_sampled,
        .token_multiple = chains * lanes,
        .multiply_tile = multiply_tile,
        .tile_rows = tile_rows,
        .tile_columns = tile_vectors * lanes,
    };
};

}  // namespace
}  // namespace speft::cpu
