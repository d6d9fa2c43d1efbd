#include "core/basis/basis_memory.h"

#include <algorithm>

#include "core/basis/sparse_matrix.h"

namespace speft {
namespace {

constexpr ScalarType f32 = ScalarType::float32;

// The sizes of matrices that are not there.
class Sizes {
public:
    explicit Sizes(const Device &device) : device_(device) {}

    TensorView matrix(std::uint64_t rows, std::uint64_t columns, ScalarType type = f32) const {
        return matrix_of(device_, nullptr, rows, columns, type);
    }
    static SparseMatrix delta(const BasisShape &shape, std::uint64_t selected) {
        return {{nullptr, selected}, nullptr, f32, shape.row_directions, shape.column_directions};
    }
    std::uint64_t scratch(const TensorView &a, ScalarType b_type, Factor b_is, const TensorView &target) const {
        return device_.scratch_bytes(make_product(a, nullptr, b_type, b_is, target));
    }
    std::uint64_t scratch(const TensorView &a, const SparseMatrix &b, Factor b_is, const TensorView &target) const {
        return device_.scratch_bytes(make_product(a, b, b_is, target));
    }

private:
    const Device &device_;
};

std::uint64_t vectors_bytes(const BasisShape &shape) {
    return (shape.row_directions * shape.rows + shape.column_directions * shape.columns) * sizeof(float);
}

}  // namespace

std::uint64_t observed_bytes(const BasisShape &shape) {
    return (shape.rows * shape.rows + shape.columns * shape.columns + shape.rows * shape.columns) * sizeof(float);
}

std::uint64_t factor_bytes(const BasisShape &shape) {
    return vectors_bytes(shape) + (shape.row_directions * shape.rows +
                                   (shape.rows_first() ? 0 : shape.column_directions * shape.columns)) *
                                      sizeof(float);
}

StepMemory plan_observing(const Device &device, const BasisShape &shape) {
    speft_add_gram products{};
    products.rows = shape.rows;
    products.columns = shape.columns;
    products.factor = 1;
    products.of_columns = 1;
    const std::uint64_t of_columns = device.scratch_bytes(products);
    products.of_columns = 0;
    return {0, 0, std::max(of_columns, device.scratch_bytes(products))};
}

StepMemory plan_fitting(const Device &device, const BasisShape &shape) {
    const auto side = [&](std::uint64_t size, std::uint64_t kept) {
        return device.scratch_bytes(speft_find_eigenvectors{nullptr, size, kept, nullptr, nullptr});
    };
    const std::uint64_t vectors = vectors_bytes(shape);  // as they are found, and as they are kept
    return {2 * vectors, vectors,
            std::max(side(shape.rows, shape.row_directions), side(shape.columns, shape.column_directions))};
}

StepMemory plan_rotating(const Device &device, const BasisShape &shape, std::uint64_t tokens, ScalarType type) {
    const auto &[rows, columns, row_directions, column_directions] = shape;
    const Sizes sizes(device);
    if (shape.rotates_activations(tokens)) {
        const std::uint64_t rotated = tokens * (row_directions + column_directions) * sizeof(float);
        return {rotated, rotated,
                std::max(sizes.scratch(sizes.matrix(tokens, rows, type), f32, Factor::transposed,
                                       sizes.matrix(tokens, row_directions)),
                         sizes.scratch(sizes.matrix(tokens, columns, type), f32, Factor::transposed,
                                       sizes.matrix(tokens, column_directions)))};
    }
    const TensorView half = sizes.matrix(rows, column_directions);
    const std::uint64_t rotated = row_directions * column_directions * sizeof(float);
    return {(rows * columns + rows * column_directions) * sizeof(float) + rotated, rotated,
            std::max(sizes.scratch(sizes.matrix(rows, columns), f32, Factor::transposed, half),
                     sizes.scratch(sizes.matrix(row_directions, rows), f32, Factor::plain,
                                   sizes.matrix(row_directions, column_directions)))};
}

StepMemory plan_turning_back(const Device &device, const BasisShape &shape, std::uint64_t selected) {
    const auto &[rows, columns, row_directions, column_directions] = shape;
    const Sizes sizes(device);
    const SparseMatrix delta = Sizes::delta(shape, selected);
    const TensorView target = sizes.matrix(rows, columns), vt = sizes.matrix(rows, row_directions);
    const std::uint64_t turned = rows * columns * sizeof(float);
    if (shape.rows_first()) {
        const TensorView half = sizes.matrix(rows, column_directions);
        return {turned + half.size * sizeof(float), turned,
                std::max(sizes.scratch(vt, delta, Factor::plain, half),
                         sizes.scratch(half, f32, Factor::plain, target))};
    }
    const TensorView half = sizes.matrix(columns, row_directions);
    return {turned + half.size * sizeof(float), turned,
            std::max(sizes.scratch(sizes.matrix(columns, column_directions), delta, Factor::transposed, half),
                     sizes.scratch(vt, f32, Factor::transposed, target))};
}

StepMemory plan_applying(const Device &device, const BasisShape &shape, std::uint64_t tokens, std::uint64_t selected,
                         ScalarType type, Factor weight_is) {
    const Sizes sizes(device);
    const bool by_columns = weight_is == Factor::transposed;  // which the inputs belong to
    const TensorView inputs = sizes.matrix(tokens, by_columns ? shape.columns : shape.rows, type);
    const TensorView outputs = sizes.matrix(tokens, by_columns ? shape.rows : shape.columns, type);
    if (!shape.applies_cheaper(tokens, selected)) {
        StepMemory turning = plan_turning_back(device, shape, selected);
        turning.scratch = std::max(turning.scratch, sizes.scratch(inputs, f32, weight_is, outputs));
        return {turning.buffers, 0, turning.scratch};
    }
    const TensorView rotated = sizes.matrix(tokens, by_columns ? shape.column_directions : shape.row_directions);
    const TensorView applied = sizes.matrix(tokens, by_columns ? shape.row_directions : shape.column_directions);
    return {(rotated.size + applied.size) * sizeof(float), 0,
            std::max({sizes.scratch(inputs, f32, Factor::transposed, rotated),
                      sizes.scratch(rotated, Sizes::delta(shape, selected), weight_is, applied),
                      sizes.scratch(applied, f32, Factor::plain, outputs)})};
}

}  // namespace speft
