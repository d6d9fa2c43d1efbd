// U and V of a basis, as adapters train in it, and the products that go there and back (Chekalina et al. 2024, section
// 3.2). "Rows" and "columns" are those of the host's weight, whichever of them are its inputs.
#pragma once

#include <cstdint>

#include "core/adapter/gradient.h"
#include "core/backend/buffer.h"
#include "core/basis/basis_shape.h"
#include "core/basis/sparse_matrix.h"

namespace speft {

class BasisFactors {
public:
    BasisFactors(Device &device, const BasisShape &shape);

    const BasisShape &shape() const { return shape_; }
    const Buffer<float> &u() const { return u_; }  // [column_directions, columns]
    const Buffer<float> &v() const { return v_; }  // [row_directions, rows]

    // U and V, from device memory. Where they lie does not change.
    void fill(Device &device, const float *u, const float *v);
    // What turning back needs beside them.
    void prepare(Device &device);

    // A gradient in the basis, and what it points to.
    struct Rotated {
        Buffer<float> first, second;
        Gradient gradient;
    };
    // DENSE becomes V dW Uᵀ. ACTIVATIONS become activations in the basis or, where the layer has so many tokens that it
    // is less work, dense.
    Rotated rotate(Device &device, const Gradient &gradient) const;

    // ΔW = Vᵀ Δ̃ U, [rows, columns], of a Δ̃ [row_directions, column_directions].
    Buffer<float> turn_back(Device &device, const SparseMatrix &delta) const;
    // inputs ΔWᵀ (inputs [tokens, columns], outputs [tokens, rows]), or inputs ΔW where `delta_is` plain (the other way
    // round): through the basis, without ΔW. First what it is in the directions of the outputs, then the product that
    // turns that back.
    Buffer<float> apply(Device &device, const SparseMatrix &delta, Factor delta_is, const TensorView &inputs) const;
    speft_multiply turn_back(Device &device, const Buffer<float> &applied, Factor delta_is, const TensorView &outputs,
                             Into into) const;
    // Whether `apply` to so many tokens takes fewer multiplications than turning Δ̃ back.
    bool applies_cheaper(std::uint64_t tokens, const SparseMatrix &delta) const {
        return shape_.applies_cheaper(tokens, delta.mask.count);
    }

private:
    BasisShape shape_;
    Buffer<float> u_, v_;
    Buffer<float> turned_u_;  // Uᵀ [columns, column_directions]; only where columns come first
    Buffer<float> turned_v_;  // Vᵀ [rows, row_directions]
};

}  // namespace speft
