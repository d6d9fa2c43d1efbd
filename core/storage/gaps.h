// A mask as 16-bit gaps: for each index how many scalars lie between it and the one before (before the first: the
// start). A gap of 65535 or more is written as 65535 as often as it fits and then the rest, so that a value of 65535
// always says "more follows", and every mask has exactly one encoding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace speft {

// `indices` strictly increase.
std::vector<std::uint16_t> encode_gaps(std::span<const std::uint32_t> indices);

// Throws Defect unless they are exactly `count` indices below `size`.
std::vector<std::uint32_t> decode_gaps(std::span<const std::uint16_t> gaps, std::uint64_t count, std::uint64_t size);

}  // namespace speft
