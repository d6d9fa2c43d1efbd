// Matrices on the device, and their products as the backends take them.
#pragma once

#include <cstdint>

#include "core/backend/device.h"
#include "core/base/scalar_type.h"
#include "core/base/tensor_view.h"

namespace speft {

TensorView matrix_of(const Device &device, void *data, std::uint64_t rows, std::uint64_t columns,
                     ScalarType type = ScalarType::float32);

// Whether a factor is taken as it lies or transposed; whether a product replaces what is there or is added to it.
enum class Factor { plain, transposed };
enum class Into { replace, add };

// target = a·b, or a·bᵀ; b is [a's columns, target's columns], or the other way round. `multiply` runs it, and does
// nothing where the target is empty.
speft_multiply make_product(const TensorView &a, const void *b, ScalarType b_type, Factor b_is,
                            const TensorView &target, Into into = Into::replace);
void multiply(Device &device, const TensorView &a, const void *b, ScalarType b_type, Factor b_is,
              const TensorView &target, Into into = Into::replace);

}  // namespace speft
