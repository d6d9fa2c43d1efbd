#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {

// 32 registers of 16 floats: 24 of sums.
const ProductKernels avx512_kernels = KernelTemplate<16, 8, 3>::kernels;

}  // namespace speft::cpu
