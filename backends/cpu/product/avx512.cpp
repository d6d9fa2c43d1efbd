#include "backends/cpu/product/avx512_vectors.h"
#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx512 : Avx512Vectors {
    static constexpr int tokens_a_word = 1;
    static Vector multiply_add(Vector a, Vector b, Vector sum) { return a * b + sum; }
};

}  // namespace

// 32 registers of 16 floats: 24 of sums.
const ProductKernels avx512_kernels = KernelTemplate<Avx512, 8, 3>::kernels;

}  // namespace speft::cpu
