// Everything here has internal linkage and calls nothing that is shared: the linker must never take an AVX2 copy of a
// function for all.
#include "backends/cpu/accumulation/add_values_avx2.h"

#include <immintrin.h>

namespace speft::cpu {
namespace {

constexpr std::uint64_t lanes = 8;

struct Float {
    float value;
    static __m256 load(const Float *source) { return _mm256_loadu_ps(&source->value); }
};

struct BFloat {
    std::uint16_t bits;
    static __m256 load(const BFloat *source) {
        const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i *>(source));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(values), 16));
    }
};

struct Half {
    std::uint16_t bits;
    static __m256 load(const Half *source) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(source)));
    }
};

// Contraction is off: the product is rounded, and then the sum.
template <class Scalar>
void add_vector(float *sums, const Scalar *source, __m256 scale) {
    _mm256_storeu_ps(sums, _mm256_loadu_ps(sums) + scale * Scalar::load(source));
}

// The last few, by way of a whole vector.
template <class Scalar>
void add_tail(float *sums, const Scalar *source, std::uint64_t count, __m256 scale) {
    float some_sums[lanes] = {};
    Scalar some_source[lanes] = {};
    __builtin_memcpy(some_sums, sums, count * sizeof(float));
    __builtin_memcpy(some_source, source, count * sizeof(Scalar));
    add_vector(some_sums, some_source, scale);
    __builtin_memcpy(sums, some_sums, count * sizeof(float));
}

template <class Scalar>
void add_dense(float *sums, const void *source, std::uint64_t count, float scale) {
    const auto *values = static_cast<const Scalar *>(source);
    const __m256 scales = _mm256_set1_ps(scale);
    std::uint64_t j = 0;
    for (; j + lanes <= count; j += lanes) add_vector(sums + j, values + j, scales);
    add_tail(sums + j, values + j, count - j, scales);
}

// Each index is likely a cache miss of its own. Fetching far ahead, and into the second cache, keeps more of them
// under way than the first one's few miss buffers would: measured on Zen 4, twice as fast as fetching into the first.
template <class Scalar>
void add_gathered(float *sums, const void *source, const std::uint32_t *indices, std::uint64_t count, float scale) {
    constexpr std::uint64_t distance = 256;
    const auto *values = static_cast<const Scalar *>(source);
    const __m256 scales = _mm256_set1_ps(scale);
    for (std::uint64_t j = 0; j < count; j += lanes) {
        for (std::uint64_t ahead = j + distance; ahead < j + distance + lanes && ahead < count; ++ahead)
            __builtin_prefetch(values + indices[ahead], 0, 2);
        const std::uint64_t some = count - j < lanes ? count - j : lanes;
        Scalar gathered[lanes] = {};
        for (std::uint64_t i = 0; i < some; ++i) gathered[i] = values[indices[j + i]];
        if (some == lanes)
            add_vector(sums + j, gathered, scales);
        else
            add_tail(sums + j, gathered, some, scales);
    }
}

}  // namespace

const AddKernels avx2_add_kernels[3] = {
    {add_dense<Float>, add_gathered<Float>},
    {add_dense<BFloat>, add_gathered<BFloat>},
    {add_dense<Half>, add_gathered<Half>},
};

}  // namespace speft::cpu
