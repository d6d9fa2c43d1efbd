#include "core/adapter/matrices.h"

#include "core/adapter/gradient.h"

namespace speft {

TensorView matrix_of(const Device &device, void *data, std::uint64_t rows, std::uint64_t columns, ScalarType type) {
    TensorView view;
    view.data = data;
    view.device = device.location();
    view.dtype = dtype_of(type);
    view.shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)};
    view.size = rows * columns;
    return view;
}

speft_multiply make_product(const TensorView &a, const void *b, ScalarType b_type, Factor b_is,
                            const TensorView &target, Into into) {
    speft_multiply product{};
    product.a = a.data;
    product.b = b;
    product.target = target.data;
    product.rows = static_cast<std::uint64_t>(a.shape[0]);
    product.inner = static_cast<std::uint64_t>(a.shape[1]);
    product.columns = static_cast<std::uint64_t>(target.shape[1]);
    product.a_type = static_cast<std::int32_t>(scalar_type_of(a, "factor"));
    product.b_type = static_cast<std::int32_t>(b_type);
    product.target_type = static_cast<std::int32_t>(scalar_type_of(target, "product"));
    product.b_transposed = b_is == Factor::transposed;
    product.accumulate = into == Into::add;
    product.scale = 1;
    return product;
}

void multiply(Device &device, const TensorView &a, const void *b, ScalarType b_type, Factor b_is,
              const TensorView &target, Into into) {
    if (target.size > 0) device.run(make_product(a, b, b_type, b_is, target, into));
}

}  // namespace speft
