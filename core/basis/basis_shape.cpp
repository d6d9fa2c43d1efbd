#include "core/basis/basis_shape.h"

namespace speft {
namespace {

double product_of(std::uint64_t a, std::uint64_t b, std::uint64_t c = 1) {
    return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

}  // namespace

// Of the multiplications of both ways those that are not the same: tokens·rows·columns for the gradient itself.
bool BasisShape::rotates_activations(std::uint64_t tokens) const {
    const double rotating = product_of(tokens, rows, row_directions) + product_of(tokens, columns, column_directions);
    const double turning = product_of(rows, columns, column_directions) +
                           product_of(rows, row_directions, column_directions);
    return rotating <= turning;
}

bool BasisShape::applies_cheaper(std::uint64_t tokens, std::uint64_t selected) const {
    const double applying = product_of(tokens, rows, row_directions) +
                            product_of(tokens, columns, column_directions) + product_of(tokens, selected);
    const double turning =
        rows_first() ? product_of(rows, selected) + product_of(rows, columns, column_directions)
                     : product_of(columns, selected) + product_of(rows, columns, row_directions);
    return applying <= turning;
}

}  // namespace speft
