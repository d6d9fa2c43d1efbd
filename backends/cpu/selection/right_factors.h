// The right factors of scores, prepared for vectors of neighbouring columns. For MOMENTUM and SCALED_WEIGHT they are
// the roots: taken for each scalar, they made the selection take two thirds more time on Zen 4. For LOW_RANK they are
// panels of 64 columns, each with the 64 values of q = 0, then those of q = 1, …, and zeros past the last column.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cpu {

inline constexpr std::uint64_t panel_columns = 64;

// How many values there are to prepare; none for a formula without a right factor.
std::uint64_t count_right_factors(const speft_score &score);

void prepare_right_factors(const speft_backend_device &device, const speft_score &score, float *prepared);

}  // namespace speft::cpu
