// The inner loops of a bracketed selection, as each instruction set has them: which scalars of a run score at least
// as high as a bound. They see numbers only; score_bound.h turns formulas into bounds. Where no filter reads what a
// formula is computed of, its scores are computed a run at a time and then filtered as values.
#pragma once

#include <cstdint>

#include "backends/cpu/selection/offsets.h"
#include "speft/backend.h"

namespace speft::cpu {

struct Filtered {
    std::uint32_t count = 0;  // of offsets, rising
    std::uint32_t nans = 0;   // scores that are not numbers, and never pass
};

// All runs have `count` scalars, a multiple of run_step, up to longest_run.
struct ScoreFilter {
    // lowest <= |bits| <= infinity, of a 16-bit type whose infinity has these bits.
    Filtered (*magnitudes16)(const std::uint16_t *values, std::uint32_t count, std::uint16_t lowest,
                             std::uint16_t infinity, Offsets &offsets);
    // |value| >= lowest
    Filtered (*magnitudes)(const float *values, std::uint32_t count, float lowest, Offsets &offsets);
    // value >= lowest
    Filtered (*values)(const float *values, std::uint32_t count, float lowest, Offsets &offsets);
    // |sum/total_weight · weight| >= lowest, each operation rounded; by SPEFT_SCALAR_… of the weights.
    using Products = Filtered (*)(const float *sums, const void *weights, std::uint32_t count, float total_weight,
                                  float lowest, Offsets &offsets);
    Products products[3];

    // scores[i] is that of the scalar first + i, excluded or not. LOW_RANK takes its right factor from `panels`.
    void (*scores)(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *panels,
                   float *scores);
};

#ifdef __x86_64__
extern const ScoreFilter avx2_filter;
extern const ScoreFilter avx512_filter;
#endif

}  // namespace speft::cpu
