// The k-th largest of many keys by radix selection: a histogram a digit, and nothing kept but that.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/parallel.h"

namespace speft::cpu {

// What is known of some keys. Fewer digits have to be found where they lie close together, or have low bits of 0.
struct KeyRange {
    std::uint32_t low;
    std::uint32_t high;
    unsigned zero_bits;
};

// `keys` has at least k >= 1 of them, and all are in `range`, its ends included.
std::uint32_t find_kth_largest(const speft_backend_device &device, std::span<const std::uint32_t> keys,
                               std::uint64_t k, KeyRange range);

}  // namespace speft::cpu
