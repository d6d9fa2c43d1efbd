// The inner loops of random masks, as each instruction set has them; core/base/random.h defines what they compute.
#pragma once

#include <cstdint>

#include "backends/cpu/selection/offsets.h"
#include "core/base/feistel_network.h"

namespace speft::cpu {

struct RandomKernels {
    // values[i] = one pass of values[i] through the network, without the walk; `count` is a multiple of random_step.
    void (*permute)(const FeistelNetwork &network, std::uint32_t *values, std::uint64_t count);

    // Which of the counters first + [0, count) draw below the threshold; returns how many. `count` is a multiple of
    // run_step up to longest_run. NULL where vectors do not pay.
    std::uint32_t (*draw)(std::uint64_t key, std::uint64_t threshold, std::uint64_t first, std::uint32_t count,
                          Offsets &offsets);
};

inline constexpr std::uint64_t random_step = 32;

#ifdef __x86_64__
extern const RandomKernels avx2_random;
extern const RandomKernels avx512_random;
#endif

}  // namespace speft::cpu
