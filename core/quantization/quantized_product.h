// Products with quantized weights and sparse deltas beside them.
#pragma once

#include "core/basis/sparse_matrix.h"
#include "core/quantization/quantized_weights.h"

namespace speft {

// target = a·(W + S), or a·(W + S)ᵀ, as matrices.h has it. It points into `weights`.
speft_multiply_quantized make_product(const TensorView &a, const QuantizedWeights &weights, const SparseMatrix &sparse,
                                      Factor weight_is, const TensorView &target, Into into = Into::replace);

}  // namespace speft
