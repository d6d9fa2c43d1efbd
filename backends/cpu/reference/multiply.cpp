#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

// Of a tile of the target, which is a task. So many products are also summed by themselves: the error grows with this
// and with the number of blocks, not with their product.
constexpr std::uint64_t side = 64;

using Tile = float[side][side];

template <class Scalar>
void read(const Scalar *source, std::uint64_t stride, Piece rows, Piece columns, bool transposed, Tile &tile) {
    for (std::uint64_t row = rows.begin; row < rows.end; ++row)
        for (std::uint64_t column = columns.begin; column < columns.end; ++column)
            tile[row - rows.begin][column - columns.begin] =
                to_float(transposed ? source[column * stride + row] : source[row * stride + column]);
}

// sums += the product of a's rows and b's columns over the terms.
void add_block(const Tile &a, const Tile &b, std::uint64_t rows, std::uint64_t terms, Tile &sums) {
    for (std::uint64_t row = 0; row < rows; ++row) {
        float block[side] = {};
        for (std::uint64_t term = 0; term < terms; ++term)
            for (std::uint64_t column = 0; column < side; ++column) block[column] += a[row][term] * b[term][column];
        for (std::uint64_t column = 0; column < side; ++column) sums[row][column] += block[column];
    }
}

void multiply_tile(const speft_multiply &m, Piece rows, Piece columns) {
    const Pieces blocks(side, m.inner);
    Tile a, b = {}, sums = {};
    for (std::int64_t index = 0; index < blocks.count(); ++index) {
        const Piece terms = blocks[index];
        visit_scalar(m.a_type, [&](auto scalar) {
            read(static_cast<const decltype(scalar) *>(m.a), m.inner, rows, terms, false, a);
        });
        visit_scalar(m.b_type, [&](auto scalar) {
            read(static_cast<const decltype(scalar) *>(m.b), m.b_transposed ? m.inner : m.columns, terms, columns,
                 m.b_transposed != 0, b);
        });
        add_block(a, b, rows.end - rows.begin, terms.end - terms.begin, sums);
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

}  // namespace

void multiply(const speft_backend_device &device, const speft_multiply &arguments) {
    const Pieces rows(side, arguments.rows), columns(side, arguments.columns);
    parallel_for(device, rows.count() * columns.count(), [&](std::int64_t task) {
        multiply_tile(arguments, rows[task / columns.count()], columns[task % columns.count()]);
    });
}

}  // namespace speft::cpu
