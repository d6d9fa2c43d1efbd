#include "backends/cpu/operations.h"
#include "backends/cpu/product/packed_product.h"

namespace speft::cpu {
namespace {

DenseFactor right_of(const speft_multiply &m) {
    return {m.b, m.b_type, m.b_transposed != 0, m.b_transposed ? m.inner : m.columns};
}

}  // namespace

std::uint64_t multiply_packed_scratch(const speft_backend_device &device, const speft_multiply &arguments,
                                      const ProductKernels &kernels) {
    return PackedProduct(device, frame_of(arguments), right_of(arguments), kernels).scratch_bytes();
}

void multiply_packed(const speft_backend_device &device, const speft_multiply &arguments,
                     const ProductKernels &kernels, void *scratch) {
    PackedProduct(device, frame_of(arguments), right_of(arguments), kernels).run(scratch);
}

}  // namespace speft::cpu
