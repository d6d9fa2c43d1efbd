#include "core/quantization/quantized_product.h"

#include "core/adapter/gradient.h"

namespace speft {

speft_multiply_quantized make_product(const TensorView &a, const QuantizedWeights &weights, const SparseMatrix &sparse,
                                      Factor weight_is, const TensorView &target, Into into) {
    speft_multiply_quantized product{};
    product.a = a.data;
    product.target = target.data;
    product.quantized = weights.view();
    product.indices = sparse.mask.data;
    product.values = sparse.values;
    product.count = sparse.mask.count;
    product.rows = static_cast<std::uint64_t>(a.shape[0]);
    product.b_rows = sparse.rows;
    product.b_columns = sparse.columns;
    product.a_type = static_cast<std::int32_t>(scalar_type_of(a, "factor"));
    product.target_type = static_cast<std::int32_t>(scalar_type_of(target, "product"));
    product.values_type = static_cast<std::int32_t>(sparse.type);
    product.transposed = weight_is == Factor::transposed;
    product.accumulate = into == Into::add;
    product.scale = 1;
    return product;
}

}  // namespace speft
