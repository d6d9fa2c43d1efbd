#include <immintrin.h>

#include "backends/cpu/product/code_kernel_template.h"
#include "backends/cpu/quantization/avx2_levels.h"

namespace speft::cpu {
namespace {

struct Avx2 : Avx2Levels {
    static constexpr std::uint64_t most_rows = 4, most_tokens = 4;
    static constexpr int lanes = 8;
    typedef float Vector __attribute__((vector_size(32)));
    typedef std::uint32_t Words __attribute__((vector_size(32)));

    static Vector look_up(const Levels &levels, Words words) {
        return choose(levels, reinterpret_cast<__m256i>(words));
    }

    static Vector spread(const float *scales) {
        return _mm256_setr_ps(scales[0], scales[0], scales[0], scales[0], scales[1], scales[1], scales[1], scales[1]);
    }

    static float sum(Vector vector) {
        __m128 sums = _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps(vector, 1));
        sums = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
        return _mm_cvtss_f32(_mm_add_ss(sums, _mm_movehdup_ps(sums)));
    }
};

}  // namespace

// 16 registers: 4 of sums or factors, 2 of levels, a row's codes and scales each.
const CodeKernels avx2_code_kernels = CodeTemplate<Avx2>::kernels<2, 2>;

}  // namespace speft::cpu
