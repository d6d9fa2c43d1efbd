#include "backends/cpu/selection/compress_offsets.h"
#include "backends/cpu/selection/feistel_template.h"
#include "backends/cpu/selection/mask_bits.h"

namespace speft::cpu {
namespace {

__m512i mix(__m512i z) {
    z = _mm512_xor_si512(z, _mm512_srli_epi64(z, 30));
    z = _mm512_mullo_epi64(z, _mm512_set1_epi64(static_cast<long long>(0xbf58476d1ce4e5b9ull)));
    z = _mm512_xor_si512(z, _mm512_srli_epi64(z, 27));
    z = _mm512_mullo_epi64(z, _mm512_set1_epi64(static_cast<long long>(0x94d049bb133111ebull)));
    return _mm512_xor_si512(z, _mm512_srli_epi64(z, 31));
}

std::uint32_t draw(std::uint64_t key, std::uint64_t threshold, std::uint64_t first, std::uint32_t count,
                   Offsets &offsets) {
    constexpr std::uint32_t lanes = 8;
    const __m512i keys = _mm512_set1_epi64(static_cast<long long>(key));
    const __m512i limit = _mm512_set1_epi64(static_cast<long long>(threshold));
    const __m512i start = _mm512_add_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
                                           _mm512_set1_epi64(static_cast<long long>(first + 0x9e3779b97f4a7c15ull)));
    std::uint32_t found = 0;
    for (std::uint32_t step = 0; step < count; step += run_step) {
        std::uint32_t hits = 0;
#pragma GCC unroll 4
        for (std::uint32_t lane = 0; lane < run_step; lane += lanes) {
            const __m512i counters = _mm512_add_epi64(start, _mm512_set1_epi64(step + lane));
            const __m512i draws = mix(_mm512_xor_si512(keys, mix(counters)));
            hits |= mask_bits(_mm512_cmplt_epu64_mask(draws, limit)) << lane;
        }
        compress_offsets(hits, step, offsets + found);
        found += static_cast<std::uint32_t>(__builtin_popcount(hits));
    }
    return found;
}

}  // namespace

const RandomKernels avx512_random = {.permute = FeistelTemplate<16>::permute, .draw = draw};

}  // namespace speft::cpu
