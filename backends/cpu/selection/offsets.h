// Places within a short run of scalars, as the loops of a selection give them.
#pragma once

#include <cstdint>

namespace speft::cpu {

// Runs are whole steps, so that no loop has a tail, and short enough for offsets of 16 bits.
inline constexpr std::uint32_t run_step = 32;
inline constexpr std::uint32_t longest_run = 4096;

// Room for what a run can give. A step may write past what it gives, but not past this.
using Offsets = std::uint16_t[longest_run + run_step];

}  // namespace speft::cpu
