#include "core/basis/sparse_matrix.h"

#include "core/adapter/gradient.h"

namespace speft {

speft_multiply_sparse make_product(const TensorView &a, const SparseMatrix &sparse, Factor sparse_is,
                                   const TensorView &target, Into into) {
    speft_multiply_sparse product{};
    product.a = a.data;
    product.target = target.data;
    product.indices = sparse.mask.data;
    product.values = sparse.values;
    product.count = sparse.mask.count;
    product.rows = static_cast<std::uint64_t>(a.shape[0]);
    product.sparse_rows = sparse.rows;
    product.sparse_columns = sparse.columns;
    product.a_type = static_cast<std::int32_t>(scalar_type_of(a, "factor"));
    product.target_type = static_cast<std::int32_t>(scalar_type_of(target, "product"));
    product.values_type = static_cast<std::int32_t>(sparse.type);
    product.transposed = sparse_is == Factor::transposed;
    product.accumulate = into == Into::add;
    product.scale = 1;
    return product;
}

void multiply(Device &device, const TensorView &a, const SparseMatrix &sparse, Factor sparse_is,
              const TensorView &target, Into into) {
    if (target.size > 0) device.run(make_product(a, sparse, sparse_is, target, into));
}

}  // namespace speft
