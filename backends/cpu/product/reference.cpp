#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {

// 16 registers of 4 floats: 8 of sums.
const ProductKernels reference_kernels = KernelTemplate<4, 4, 2>::kernels;

}  // namespace speft::cpu
