// Sums of numbers that are not negative, added by many threads in any order with the same result: in fixed point, 63
// bits below the largest of them, which is known before. A sum of n is wrong by less than n·2^-62 of itself.
#pragma once

#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

// The power of 2 that brings `largest` into [2^62, 2^63). It is finite and no denormal.
SPEFT_HOST_DEVICE inline double fixed_point_unit(double largest) {
    const auto exponent = static_cast<std::uint32_t>(bit_copy<std::uint64_t>(largest) >> 52);  // biased by 1023
    return exponent == 0 ? 1 : bit_copy<double>(std::uint64_t{2 * 1023 + 62 - exponent} << 52);
}

// In two halves of 32 bits, each of which 64 bits then hold the sum of, of as many as there can be.
struct FixedPoint {
    std::uint64_t high, low;
};

SPEFT_HOST_DEVICE inline FixedPoint to_fixed_point(double value, double unit) {
    const auto bits = static_cast<std::uint64_t>(value * unit);
    return {bits >> 32, bits & 0xffffffffu};
}

SPEFT_HOST_DEVICE inline double from_fixed_point(FixedPoint sum, double unit) {
    return (static_cast<double>(sum.high) * 0x1p32 + static_cast<double>(sum.low)) / unit;
}

}  // namespace speft::cuda
