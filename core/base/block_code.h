// Numbers as codes of one byte, in blocks of 64 with a scale each: the values that dynamic tree quantization has
// (Dettmers et al. 2022, as bitsandbytes builds them), finer near 0. In seven decades, from 10^-6 to 1, the i-th has
// 2^i values of either sign (2^(i+1) where there is no sign), in the middles of equal parts of its upper nine tenths;
// and there are 0 and 1. Codes number them as they rise.
#pragma once

#include <bit>
#include <cstdint>

#include "scalar.h"

namespace speft {

inline constexpr std::uint64_t code_block_size = 64;

struct BlockCode {
    float values[256];
    // Between neighbours, the largest float32 that is not nearer to the upper one: ties go to the lower code.
    float thresholds[255];
};

constexpr BlockCode make_block_code(bool is_signed) {
    constexpr double decades[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
    BlockCode code{};
    const int zero = is_signed ? 127 : 0;
    int place = 1;
    for (int decade = 0; decade < 7; ++decade) {
        const int parts = is_signed ? 1 << decade : 2 << decade;
        for (int part = 0; part < parts; ++part, ++place) {
            const double value = decades[decade] * (0.1 + 0.9 * (part + 0.5) / parts);
            code.values[zero + place] = static_cast<float>(value);
            if (is_signed) code.values[zero - place] = -static_cast<float>(value);
        }
    }
    code.values[255] = 1;
    for (int lower = 0; lower < 255; ++lower) {
        const double middle =  // exact: neighbours are of nearly the same size, or one of them is 0
            (static_cast<double>(code.values[lower]) + static_cast<double>(code.values[lower + 1])) / 2;
        float threshold = static_cast<float>(middle);
        if (static_cast<double>(threshold) > middle) {
            const std::uint32_t bits = std::bit_cast<std::uint32_t>(threshold);
            threshold = std::bit_cast<float>(threshold > 0 ? bits - 1 : bits + 1);
        }
        code.thresholds[lower] = threshold;
    }
    return code;
}

inline constexpr BlockCode signed_block_code = make_block_code(true);
inline constexpr BlockCode unsigned_block_code = make_block_code(false);

// The scale of a block is its largest magnitude; NaN where there is a NaN or an infinity in it, so that what goes wrong
// is seen. It is found in any order, as the largest of the magnitudes' bits.
SPEFT_HOST_DEVICE inline std::uint32_t magnitude_bits(float value) {
    return bit_copy<std::uint32_t>(value) & 0x7fffffffu;
}

SPEFT_HOST_DEVICE inline float block_scale(std::uint32_t largest_bits) {
    return bit_copy<float>(largest_bits >= 0x7f800000u ? 0x7fc00000u : largest_bits);
}

// The code whose value is nearest to value/scale, that quotient rounded once. 0 where the scale is 0 or NaN.
SPEFT_HOST_DEVICE inline std::uint8_t encode_in_block(const BlockCode &code, float value, float scale) {
    const float share = value / scale;
    unsigned below = 0;  // how many thresholds are
    for (unsigned step = 128; step > 0; step /= 2)
        if (code.thresholds[below + step - 1] < share) below += step;
    return static_cast<std::uint8_t>(scale > 0 ? below : 0);
}

// A block whose scale is 0 is all +0, whatever its codes.
SPEFT_HOST_DEVICE inline float decode_in_block(const BlockCode &code, std::uint8_t number, float scale) {
    return scale == 0 ? 0 : code.values[number] * scale;
}

}  // namespace speft
