// Numbers as codes in blocks that share a scale, their largest magnitude: bitsandbytes' arithmetic, rounding by
// rounding. Host and device compile the same code; what it computes is in speft/backend.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "scalar.h"

namespace speft {

// Levels as they rise: their codes, and the middles between neighbours.
template <unsigned count>
struct OrderedLevels {
    float middles[count - 1];
    std::uint8_t codes[count];

    explicit OrderedLevels(const float *levels) {
        std::iota(codes, codes + count, std::uint8_t{0});
        std::stable_sort(codes, codes + count, [&](std::uint8_t a, std::uint8_t b) { return levels[a] < levels[b]; });
        for (unsigned i = 0; i + 1 < count; ++i) middles[i] = (levels[codes[i]] + levels[codes[i + 1]]) / 2;
    }

    SPEFT_HOST_DEVICE std::uint8_t nearest(float share) const {
        unsigned below = 0;  // how many middles are
        for (unsigned step = count / 2; step > 0; step /= 2)  // no branch: none could be foreseen
            below += step * static_cast<unsigned>(middles[below + step - 1] < share);
        return codes[below];
    }
};

// bitsandbytes divides by no less.
inline constexpr float least_scale = 1e-38f;

SPEFT_HOST_DEVICE inline float divisor_of(float absmax) { return absmax < least_scale ? least_scale : absmax; }

// Products with a rounded reciprocal may end a rounding outside.
SPEFT_HOST_DEVICE inline float bring_into_unit(float share) { return share < -1 ? -1 : share > 1 ? 1 : share; }

// What weights are multiplied by to be counted in 127ths of the scale; 0 where that is not finite.
SPEFT_HOST_DEVICE inline float int8_factor(float absmax) {
    const float factor = 1 / absmax * 127;
    return factor <= 0x1.fffffep127f ? factor : 0;
}

inline constexpr float int8_step = 1.0f / 127;

SPEFT_HOST_DEVICE inline float decode_int8(std::int8_t code, float absmax) {
    return static_cast<float>(code) * absmax * int8_step;
}

SPEFT_HOST_DEVICE inline float decode_absmax(float level, float absmax_absmax, float offset) {
    return level * absmax_absmax + offset;
}

}  // namespace speft
