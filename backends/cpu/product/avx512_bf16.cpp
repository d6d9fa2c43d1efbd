// bfloat16 × bfloat16 without widening: half the bytes and twice the products an instruction. The instruction takes
// denormals for zeros, as the contract lets a sum over tokens do.
#include "backends/cpu/product/avx512_vectors.h"
#include "backends/cpu/product/kernel_template.h"

namespace speft::cpu {
namespace {

struct Avx512Bf16 : Avx512Vectors {
    static constexpr int tokens_a_word = 2;
    static Vector multiply_add(Vector a, Vector b, Vector sum) {
        return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
    }
};

}  // namespace

const ProductKernels avx512_bf16_kernels = KernelTemplate<Avx512Bf16, 8, 3>::kernels;

}  // namespace speft::cpu
