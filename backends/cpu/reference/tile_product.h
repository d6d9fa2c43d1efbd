// A product of two matrices by tiles, in plain loops. What the second factor is read from is the caller's.
#pragma once

#include <algorithm>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product_frame.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {

// Of a tile of the target, which is a task. So many products are also summed by themselves: the error grows with this
// and with the number of blocks, not with their product.
inline constexpr std::uint64_t tile_side = 64;

using Tile = float[tile_side][tile_side];

// tile[i][j] of a row-major source, or tile[j][i] where transposed: of the source's rows and columns.
template <class Scalar>
void read_tile(const Scalar *source, std::uint64_t stride, Piece rows, Piece columns, bool transposed, Tile &tile) {
    for (std::uint64_t row = rows.begin; row < rows.end; ++row)
        for (std::uint64_t column = columns.begin; column < columns.end; ++column) {
            const std::uint64_t i = row - rows.begin, j = column - columns.begin;
            (transposed ? tile[j][i] : tile[i][j]) = to_float(source[row * stride + column]);
        }
}

// sums += the product of a's rows and b's columns over the terms.
inline void add_tile(const Tile &a, const Tile &b, std::uint64_t rows, std::uint64_t terms, Tile &sums) {
    for (std::uint64_t row = 0; row < rows; ++row) {
        float block[tile_side] = {};
        for (std::uint64_t term = 0; term < terms; ++term)
            for (std::uint64_t j = 0; j < tile_side; ++j) block[j] += a[row][term] * b[term][j];
        for (std::uint64_t j = 0; j < tile_side; ++j) sums[row][j] += block[j];
    }
}

template <class ReadB>
void multiply_tile(const ProductFrame &m, Piece rows, Piece columns, ReadB &&read_b) {
    const Pieces blocks(tile_side, m.inner);
    Tile a, b = {}, sums = {};
    for (std::int64_t index = 0; index < blocks.count(); ++index) {
        const Piece terms = blocks[index];
        visit_scalar(m.a_type, [&](auto scalar) {
            read_tile(static_cast<const decltype(scalar) *>(m.a), m.inner, rows, terms, false, a);
        });
        read_b(terms, columns, b);
        add_tile(a, b, rows.end - rows.begin, terms.end - terms.begin, sums);
    }
    visit_scalar(m.target_type, [&](auto scalar) {
        for (std::uint64_t row = rows.begin; row < rows.end; ++row)
            for (std::uint64_t column = columns.begin; column < columns.end; ++column) {
                auto &target = static_cast<decltype(scalar) *>(m.target)[row * m.columns + column];
                const float base = m.accumulate ? to_float(target) : 0.0f;
                target = from_float<decltype(scalar)>(base +
                                                      m.scale * sums[row - rows.begin][column - columns.begin]);
            }
    });
}

// read_b(terms, columns, tile) writes tile[term][column] of b, both counted from the first.
template <class ReadB>
void multiply_tiles(const speft_backend_device &device, const ProductFrame &product, ReadB &&read_b) {
    const Pieces rows(tile_side, product.rows), columns(tile_side, product.columns);
    parallel_for(device, rows.count() * columns.count(), [&](std::int64_t task) {
        multiply_tile(product, rows[task / columns.count()], columns[task % columns.count()], read_b);
    });
}

}  // namespace speft::cpu
