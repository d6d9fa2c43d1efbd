// A sparse matrix as masks and deltas have it, and its products with dense ones.
#pragma once

#include <cstdint>

#include "core/adapter/index_sets.h"
#include "core/adapter/matrices.h"

namespace speft {

// 0 but for the values at `mask`.
struct SparseMatrix {
    IndexList mask;
    const void *values = nullptr;  // [mask.count]
    ScalarType type = ScalarType::float32;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
};

// target = a·S, or a·Sᵀ, as matrices.h has it.
speft_multiply_sparse make_product(const TensorView &a, const SparseMatrix &sparse, Factor sparse_is,
                                   const TensorView &target, Into into = Into::replace);
void multiply(Device &device, const TensorView &a, const SparseMatrix &sparse, Factor sparse_is,
              const TensorView &target, Into into = Into::replace);

}  // namespace speft
