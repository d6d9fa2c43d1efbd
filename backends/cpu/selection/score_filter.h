// The inner loops of a bracketed selection, as each instruction set has them: which scalars of a run score at least
// as high as a bound. score_bound.h chooses among them. Where a score takes more than its scalar, or some are excluded,
// the scores of a run are computed first and then filtered as values.
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
    // score >= lowest, by the tensor's formula, which looks at each scalar alone: no factors, and none is excluded.
    Filtered (*formula)(const speft_score &score, std::uint64_t first, std::uint32_t count, float lowest,
                        Offsets &offsets);
    // scores[i] is that of the scalar first + i, excluded or not. `right`: as right_factors.h prepares them.
    void (*scores)(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *right,
                   float *scores);
};

#ifdef __x86_64__
extern const ScoreFilter avx2_filter;
extern const ScoreFilter avx512_filter;
#endif

}  // namespace speft::cpu
