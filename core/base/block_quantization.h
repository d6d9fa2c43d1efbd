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

SPEFT_HOST_DEVICE inline float clamp(float value, float limit) {
    return value < -limit ? -limit : value > limit ? limit : value;
}

SPEFT_HOST_DEVICE inline float magnitude_of(float value) { return value < 0 ? -value : value; }

// bitsandbytes divides by no less.
inline constexpr float least_scale = 1e-38f;

// Of a scale that may have been read back from codes: those can be negative.
SPEFT_HOST_DEVICE inline float divisor_of(float absmax) {
    return magnitude_of(absmax) < least_scale ? least_scale : absmax;
}

// Weights as shares of their scale, by which levels are looked up.
class ShareOfScale {
public:
    // `divides`: of the short block of 4-bit levels.
    SPEFT_HOST_DEVICE explicit ShareOfScale(float absmax, bool divides = false)
        : divisor_(divisor_of(absmax)), reciprocal_(1 / divisor_), divides_(divides) {}

    // In [-1, 1]: products with a rounded reciprocal may end a rounding outside, and so does a weight that a scale that
    // was encoded is less than.
    SPEFT_HOST_DEVICE float operator()(float weight) const {
        return clamp(divides_ ? weight / divisor_ : weight * reciprocal_, 1);
    }

private:
    float divisor_, reciprocal_;
    bool divides_;
};

// What weights are multiplied by to be counted in 127ths of the scale; 0 where that is not finite.
SPEFT_HOST_DEVICE inline float int8_factor(float absmax) {
    const float factor = 1 / absmax * 127;
    return magnitude_of(factor) <= 0x1.fffffep127f ? factor : 0;
}

inline constexpr float int8_step = 1.0f / 127;

SPEFT_HOST_DEVICE inline float decode_int8(std::int8_t code, float absmax) {
    return static_cast<float>(code) * absmax * int8_step;
}

SPEFT_HOST_DEVICE inline float decode_absmax(float level, float absmax_absmax, float offset) {
    return level * absmax_absmax + offset;
}

}  // namespace speft
