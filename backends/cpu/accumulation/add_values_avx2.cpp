// Everything here has internal linkage and calls nothing that is shared: the linker must never take an AVX2 copy of a
// function for all.
#include "backends/cpu/accumulation/add_values_avx2.h"

#include <immintrin.h>

#include "speft/backend.h"

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

template <std::int32_t map>
__m256 apply_map(__m256 value) {
    if constexpr (map == SPEFT_MAP_SQUARE) return value * value;
    if constexpr (map == SPEFT_MAP_ABSOLUTE) return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value);
    return value;
}

struct Factors {
    __m256 scale, weight;
    explicit Factors(const AddedAs &added) : scale(_mm256_set1_ps(added.scale)), weight(_mm256_set1_ps(added.weight)) {}
};

// Contraction is off: each product is rounded, and then the sum. A weight of 1 takes no time that memory would not.
template <class Scalar, std::int32_t map>
void add_vector(float *sums, const Scalar *source, const Factors &factors) {
    const __m256 mapped = apply_map<map>(factors.scale * Scalar::load(source));
    _mm256_storeu_ps(sums, _mm256_loadu_ps(sums) + factors.weight * mapped);
}

// The last few, by way of a whole vector.
template <class Scalar, std::int32_t map>
void add_tail(float *sums, const Scalar *source, std::uint64_t count, const Factors &factors) {
    float some_sums[lanes] = {};
    Scalar some_source[lanes] = {};
    __builtin_memcpy(some_sums, sums, count * sizeof(float));
    __builtin_memcpy(some_source, source, count * sizeof(Scalar));
    add_vector<Scalar, map>(some_sums, some_source, factors);
    __builtin_memcpy(sums, some_sums, count * sizeof(float));
}

template <class Scalar, std::int32_t map>
void add_dense(float *sums, const void *source, std::uint64_t count, const AddedAs &added) {
    const auto *values = static_cast<const Scalar *>(source);
    const Factors factors(added);
    std::uint64_t j = 0;
    for (; j + lanes <= count; j += lanes) add_vector<Scalar, map>(sums + j, values + j, factors);
    add_tail<Scalar, map>(sums + j, values + j, count - j, factors);
}

// Each index is likely a cache miss of its own. Fetching far ahead, and into the second cache, keeps more of them
// under way than the first one's few miss buffers would: measured on Zen 4, twice as fast as fetching into the first.
template <class Scalar, std::int32_t map>
void add_gathered(float *sums, const void *source, const std::uint32_t *indices, std::uint64_t count,
                  const AddedAs &added) {
    constexpr std::uint64_t distance = 256;
    const auto *values = static_cast<const Scalar *>(source);
    const Factors factors(added);
    for (std::uint64_t j = 0; j < count; j += lanes) {
        for (std::uint64_t ahead = j + distance; ahead < j + distance + lanes && ahead < count; ++ahead)
            __builtin_prefetch(values + indices[ahead], 0, 2);
        const std::uint64_t some = count - j < lanes ? count - j : lanes;
        Scalar gathered[lanes] = {};
        for (std::uint64_t i = 0; i < some; ++i) gathered[i] = values[indices[j + i]];
        if (some == lanes)
            add_vector<Scalar, map>(sums + j, gathered, factors);
        else
            add_tail<Scalar, map>(sums + j, gathered, some, factors);
    }
}

template <class Scalar, std::int32_t map>
constexpr AddKernels kernels = {add_dense<Scalar, map>, add_gathered<Scalar, map>};

}  // namespace

const AddKernels avx2_add_kernels[3][3] = {
    {kernels<Float, SPEFT_MAP_IDENTITY>, kernels<Float, SPEFT_MAP_SQUARE>, kernels<Float, SPEFT_MAP_ABSOLUTE>},
    {kernels<BFloat, SPEFT_MAP_IDENTITY>, kernels<BFloat, SPEFT_MAP_SQUARE>, kernels<BFloat, SPEFT_MAP_ABSOLUTE>},
    {kernels<Half, SPEFT_MAP_IDENTITY>, kernels<Half, SPEFT_MAP_SQUARE>, kernels<Half, SPEFT_MAP_ABSOLUTE>},
};

}  // namespace speft::cpu
