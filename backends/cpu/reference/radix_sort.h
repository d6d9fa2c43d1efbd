// Sorting of 32-bit integers, a digit at a time, the lowest first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace speft::cpu {

// `other` has room for as many integers again. `bits`: how many of the low bits can be set.
inline void radix_sort(std::span<std::uint32_t> values, std::span<std::uint32_t> other, unsigned bits) {
    constexpr unsigned digit_bits = 11;
    constexpr std::uint32_t digits = 1u << digit_bits;
    std::span<std::uint32_t> from = values, to = other;
    for (unsigned shift = 0; shift < bits; shift += digit_bits) {
        std::uint64_t places[digits + 1] = {};
        for (const std::uint32_t value : from) ++places[((value >> shift) & (digits - 1)) + 1];
        for (std::uint32_t digit = 0; digit < digits; ++digit) places[digit + 1] += places[digit];
        for (const std::uint32_t value : from) to[places[(value >> shift) & (digits - 1)]++] = value;
        std::swap(from, to);
    }
    if (from.data() != values.data()) std::copy(from.begin(), from.end(), values.begin());
}

}  // namespace speft::cpu
