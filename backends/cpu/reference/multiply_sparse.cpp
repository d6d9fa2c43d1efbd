#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/matrix_walk.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

// Of a tile of the target, which is a task: its rows share a walk along the sparse entries.
constexpr std::uint64_t tile_rows = 16;
constexpr std::uint64_t tile_columns = 256;

template <class A, class Value, class Target>
void multiply_tile(const speft_multiply_sparse &m, Piece rows, Piece columns) {
    const std::uint64_t a_columns = m.transposed ? m.sparse_columns : m.sparse_rows;
    const std::uint64_t target_columns = m.transposed ? m.sparse_rows : m.sparse_columns;
    const auto *const a = static_cast<const A *>(m.a);
    const auto *const values = static_cast<const Value *>(m.values);
    auto *const target = static_cast<Target *>(m.target);
    float sums[tile_rows][tile_columns] = {};
    MatrixWalk walk(m.sparse_columns);
    for (std::uint64_t j = 0; j < m.count; ++j) {
        walk.go_to(m.indices[j]);
        const std::uint64_t from = m.transposed ? walk.column() : walk.row();
        const std::uint64_t to = m.transposed ? walk.row() : walk.column();
        if (to < columns.begin || to >= columns.end) continue;
        for (std::uint64_t row = rows.begin; row < rows.end; ++row)
            sums[row - rows.begin][to - columns.begin] += to_float(a[row * a_columns + from]) * to_float(values[j]);
    }
    for (std::uint64_t row = rows.begin; row < rows.end; ++row)
        for (std::uint64_t column = columns.begin; column < columns.end; ++column) {
            Target &element = target[row * target_columns + column];
            const float base = m.accumulate ? to_float(element) : 0.0f;
            element = from_float<Target>(base + m.scale * sums[row - rows.begin][column - columns.begin]);
        }
}

}  // namespace

void multiply_sparse(const speft_backend_device &device, const speft_multiply_sparse &arguments) {
    const Pieces rows(tile_rows, arguments.rows);
    const Pieces columns(tile_columns, arguments.transposed ? arguments.sparse_rows : arguments.sparse_columns);
    visit_scalar(arguments.a_type, [&](auto a) {
        visit_scalar(arguments.values_type, [&](auto value) {
            visit_scalar(arguments.target_type, [&](auto target) {
                parallel_for(device, rows.count() * columns.count(), [&](std::int64_t task) {
                    multiply_tile<decltype(a), decltype(value), decltype(target)>(
                        arguments, rows[task / columns.count()], columns[task % columns.count()]);
                });
            });
        });
    });
}

}  // namespace speft::cpu
