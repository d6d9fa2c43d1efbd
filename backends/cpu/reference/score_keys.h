// The keys of many scalars by the one definition in core/base/score.h, with formula and element type as constants.
#pragma once

#include <cstdint>
#include <span>

#include "speft/backend.h"

namespace speft::cpu {

// keys[i] is that of the scalar first + i.
void compute_keys(const speft_score &score, std::uint64_t first, std::uint64_t count, std::uint32_t *keys);

// keys[i] is that of the scalar indices[i].
void compute_keys(const speft_score &score, std::span<const std::uint32_t> indices, std::uint32_t *keys);

}  // namespace speft::cpu
