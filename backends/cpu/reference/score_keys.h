// The scores and keys of many scalars by the one definition in core/base/score.h, with formula and element type as
// constants.
#pragma once

#include <cstdint>
#include <span>

#include "speft/backend.h"

namespace speft::cpu {

// scores[i] is that of the scalar first + i, NaN where it is excluded.
void compute_scores(const speft_score &score, std::uint64_t first, std::uint64_t count, float *scores);

// keys[i] is that of the scalar first + i, 0 where it is excluded.
void compute_keys(const speft_score &score, std::uint64_t first, std::uint64_t count, std::uint32_t *keys);

// keys[i] is that of the scalar indices[i], none of which is excluded.
void compute_keys(const speft_score &score, std::span<const std::uint32_t> indices, std::uint32_t *keys);

// The excluded scalars of [first, first + count).
std::span<const std::uint32_t> find_excluded(const speft_score &score, std::uint64_t first, std::uint64_t count);

}  // namespace speft::cpu
