// Both forms of a gradient from activations with one set of kernels.
#include "backends/cpu/operations.h"
#include "backends/cpu/product/at_mask.h"
#include "backends/cpu/product/everywhere.h"

namespace speft::cpu {
namespace {

bool is_empty(const speft_add_product &arguments) { return arguments.count == 0 || arguments.tokens == 0; }

DenseProduct dense(const speft_add_product &arguments) {
    const Product factors(arguments);
    return {factors, arguments.tokens, arguments.scale, arguments.sums, factors.columns.width};
}

}  // namespace

std::uint64_t add_product_scratch(const speft_backend_device &device, const speft_add_product &arguments,
                                  const ProductKernels &kernels) {
    if (is_empty(arguments)) return 0;
    if (arguments.indices) return ProductAtMask(device, arguments, kernels).scratch_bytes();
    return ProductEverywhere(device, dense(arguments), kernels).scratch_bytes();
}

void add_product(const speft_backend_device &device, const speft_add_product &arguments,
                 const ProductKernels &kernels, void *scratch) {
    if (is_empty(arguments)) return;
    if (arguments.indices)
        ProductAtMask(device, arguments, kernels).run(scratch);
    else
        ProductEverywhere(device, dense(arguments), kernels).run(scratch);
}

}  // namespace speft::cpu
