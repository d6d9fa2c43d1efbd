// Plain loops, for any machine: what is left of the vectors are four words, which every compiler can map.
#include "backends/cpu/product/kernel_template.h"
#include "core/base/scalar.h"

namespace speft::cpu {
namespace {

struct Plain {
    static constexpr int lanes = 4;
    static constexpr int tokens_a_word = 1;
    typedef float Vector __attribute__((vector_size(16)));

    static Vector multiply_add(Vector a, Vector b, Vector sum) { return a * b + sum; }

    static Vector load_quads(const Word *source, std::uint64_t) {
        Vector quad;
        __builtin_memcpy(&quad, source, sizeof quad);
        return quad;
    }

    static void widen(const std::uint16_t *halves, Word *floats) {
        for (int i = 0; i < lanes; ++i) floats[i] = bit_copy<Word>(to_float(Float16{halves[i]}));
    }
};

}  // namespace

// 16 registers of 4 floats: 8 of sums.
const ProductKernels reference_kernels = KernelTemplate<Plain, 4, 2>::kernels;

}  // namespace speft::cpu
