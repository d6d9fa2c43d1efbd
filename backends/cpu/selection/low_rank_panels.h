// The right factor of LOW_RANK scores, laid out for vectors of neighbouring columns: panels of 64 columns, each with the
// 64 values of q = 0, then those of q = 1, …. Past the last column there are zeros.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cpu {

inline constexpr std::uint64_t panel_columns = 64;

// How many values they have; none for another formula.
std::uint64_t count_panel_values(const speft_score &score);

void make_panels(const speft_backend_device &device, const speft_score &score, float *panels);

}  // namespace speft::cpu
