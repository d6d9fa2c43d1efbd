#include "core/basis/basis_factors.h"

#include <vector>

namespace speft {
namespace {

constexpr ScalarType f32 = ScalarType::float32;

// Once for each basis that is trained in: by way of the host.
Buffer<float> transpose(Device &device, const Buffer<float> &matrix, std::uint64_t rows, std::uint64_t columns) {
    std::vector<float> from(rows * columns), to(rows * columns);
    device.copy_to_host(from.data(), matrix.data(), from.size() * sizeof(float));
    for (std::uint64_t row = 0; row < rows; ++row)
        for (std::uint64_t column = 0; column < columns; ++column)
            to[column * rows + row] = from[row * columns + column];
    Buffer<float> transposed(device, to.size());
    device.copy_to_device(transposed.data(), to.data(), to.size() * sizeof(float));
    return transposed;
}

}  // namespace

BasisFactors::BasisFactors(Device &device, const BasisShape &shape)
    : shape_(shape), u_(device, shape.column_directions * shape.columns),
      v_(device, shape.row_directions * shape.rows) {}

void BasisFactors::fill(Device &device, const float *u, const float *v) {
    device.copy_within(u_.data(), u, u_.count() * sizeof(float));
    device.copy_within(v_.data(), v, v_.count() * sizeof(float));
    turned_u_ = {};
    turned_v_ = {};
}

void BasisFactors::prepare(Device &device) {
    const auto &[rows, columns, row_directions, column_directions] = shape_;
    if (!turned_v_) turned_v_ = transpose(device, v_, row_directions, rows);
    if (!turned_u_ && !shape_.rows_first()) turned_u_ = transpose(device, u_, column_directions, columns);
}

BasisFactors::Rotated BasisFactors::rotate(Device &device, const Gradient &gradient) const {
    const auto &[rows, columns, row_directions, column_directions] = shape_;
    Rotated rotated{{}, {}, gradient};
    TensorView dense = gradient.dense;
    Buffer<float> sums;
    if (gradient.kind == SPEFT_GRADIENT_ACTIVATIONS) {
        const auto tokens = static_cast<std::uint64_t>(gradient.x.shape[0]);
        if (shape_.rotates_activations(tokens)) {
            // Of a weight [in, out] the rows are the inputs.
            const bool out_in = gradient.layout == SPEFT_LAYOUT_OUT_IN;
            Gradient &result = rotated.gradient;
            rotated.first = Buffer<float>(device, tokens * row_directions);
            rotated.second = Buffer<float>(device, tokens * column_directions);
            result.layout = SPEFT_LAYOUT_OUT_IN;
            result.dy = matrix_of(device, rotated.first.data(), tokens, row_directions);
            result.x = matrix_of(device, rotated.second.data(), tokens, column_directions);
            multiply(device, out_in ? gradient.dy : gradient.x, v_.data(), f32, Factor::transposed, result.dy);
            multiply(device, out_in ? gradient.x : gradient.dy, u_.data(), f32, Factor::transposed, result.x);
            return rotated;
        }
        sums = Buffer<float>::zeros(device, rows * columns);
        Gradient unscaled = gradient;  // the scale stays with what comes out
        unscaled.scale = 1;
        add_gradient(device, {sums.data(), nullptr, rows * columns}, unscaled, 1.0);
        dense = matrix_of(device, sums.data(), rows, columns);
    }
    const Buffer<float> half(device, rows * column_directions);
    rotated.first = Buffer<float>(device, row_directions * column_directions);
    rotated.gradient.kind = SPEFT_GRADIENT_DENSE;
    rotated.gradient.dense = matrix_of(device, rotated.first.data(), row_directions, column_directions);
    multiply(device, dense, u_.data(), f32, Factor::transposed,
             matrix_of(device, half.data(), rows, column_directions));
    multiply(device, matrix_of(device, v_.data(), row_directions, rows), half.data(), f32, Factor::plain,
             rotated.gradient.dense);
    return rotated;
}

Buffer<float> BasisFactors::turn_back(Device &device, const SparseMatrix &delta) const {
    const auto &[rows, columns, row_directions, column_directions] = shape_;
    Buffer<float> turned(device, rows * columns);
    const TensorView target = matrix_of(device, turned.data(), rows, columns);
    const TensorView vt = matrix_of(device, turned_v_.data(), rows, row_directions);
    if (shape_.rows_first()) {  // (Vᵀ Δ̃) U
        const Buffer<float> half(device, rows * column_directions);
        const TensorView half_view = matrix_of(device, half.data(), rows, column_directions);
        multiply(device, vt, delta, Factor::plain, half_view);
        multiply(device, half_view, u_.data(), f32, Factor::plain, target);
    } else {  // Vᵀ (Uᵀ Δ̃ᵀ)ᵀ
        const Buffer<float> half(device, columns * row_directions);
        multiply(device, matrix_of(device, turned_u_.data(), columns, column_directions), delta, Factor::transposed,
                 matrix_of(device, half.data(), columns, row_directions));
        multiply(device, vt, half.data(), f32, Factor::transposed, target);
    }
    return turned;
}

Buffer<float> BasisFactors::apply(Device &device, const SparseMatrix &delta, Factor delta_is,
                                  const TensorView &inputs) const {
    const bool by_columns = delta_is == Factor::transposed;  // which the inputs belong to
    const auto tokens = static_cast<std::uint64_t>(inputs.shape[0]);
    const std::uint64_t from = by_columns ? shape_.column_directions : shape_.row_directions;
    const std::uint64_t to = by_columns ? shape_.row_directions : shape_.column_directions;
    const Buffer<float> rotated(device, tokens * from);
    Buffer<float> applied(device, tokens * to);
    const TensorView rotated_view = matrix_of(device, rotated.data(), tokens, from);
    multiply(device, inputs, (by_columns ? u_ : v_).data(), f32, Factor::transposed, rotated_view);
    multiply(device, rotated_view, delta, delta_is, matrix_of(device, applied.data(), tokens, to));
    return applied;
}

speft_multiply BasisFactors::turn_back(Device &device, const Buffer<float> &applied, Factor delta_is,
                                       const TensorView &outputs, Into into) const {
    const bool by_columns = delta_is == Factor::transposed;
    const auto tokens = static_cast<std::uint64_t>(outputs.shape[0]);
    const std::uint64_t directions = by_columns ? shape_.row_directions : shape_.column_directions;
    return make_product(matrix_of(device, applied.data(), tokens, directions), (by_columns ? v_ : u_).data(), f32,
                        Factor::plain, outputs, into);
}

}  // namespace speft
