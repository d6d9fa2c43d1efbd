// The numbers that codes stand for, where the host brings no table of its own: bitsandbytes' own, bit for bit.
#pragma once

#include <array>
#include <algorithm>

namespace speft {

// Normal float 4 (Dettmers et al. 2023): quantiles of a normal distribution, with 0 and ±1 among them.
inline constexpr std::array<float, 16> nf4_levels = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// A sign, 2 bits of exponent and 1 of mantissa, in the order that bitsandbytes gives the codes; divided by the largest.
constexpr std::array<float, 16> make_fp4_levels() {
    std::array<float, 16> levels{};
    constexpr float magnitudes[] = {0, 0.0625f, 8, 12, 4, 6, 2, 3};
    for (unsigned code = 0; code < 8; ++code) {
        levels[code] = magnitudes[code] / 12;
        levels[8 + code] = code == 0 ? 0 : -levels[code];  // both zeros are +0
    }
    return levels;
}

inline constexpr std::array<float, 16> fp4_levels = make_fp4_levels();

// The signed dynamic map of 8 bits: 0, 1, and in seven decades from 10^-6 to 1 the i-th has 2^i values of either sign,
// in the middles of equal parts of its upper nine tenths. Where float32 rounds is bitsandbytes' choice, that of
// torch.linspace, a product added in one rounding: the values differ from block_code.h's in their last bit.
constexpr std::array<float, 256> make_dynamic_levels() {
    constexpr float decades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1};
    std::array<float, 256> levels{};
    unsigned count = 0;
    levels[count++] = 0;
    levels[count++] = 1;
    for (int decade = 0; decade < 7; ++decade) {
        const int parts = 1 << decade;
        const float step = (1.0f - 0.1f) / static_cast<float>(parts);
        const auto boundary = [&](int i) {
            const double below = static_cast<double>(0.1f) + static_cast<double>(step) * i;
            const double above = 1 - static_cast<double>(step) * (parts - i);
            return static_cast<float>(i < (parts + 1) / 2 ? below : above);
        };
        for (int part = 0; part < parts; ++part) {
            const float value = decades[decade] * ((boundary(part) + boundary(part + 1)) / 2);
            levels[count++] = value;
            levels[count++] = -value;
        }
    }
    std::sort(levels.begin(), levels.end());
    return levels;
}

inline constexpr std::array<float, 256> dynamic_levels = make_dynamic_levels();

}  // namespace speft
