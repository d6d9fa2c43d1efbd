#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {

// 16 registers of 8 floats: 12 of sums.
const ProductKernels avx2_kernels = KernelTemplate<8, 6, 2>::kernels;

}  // namespace speft::cpu
