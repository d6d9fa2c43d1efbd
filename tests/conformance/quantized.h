// Ways to write weights as codes, and their tables.
#pragma once

#include <algorithm>

#include "tests/conformance/values.h"

namespace conformance {

struct Codes {
    const char *name;
    std::int32_t coding;
    std::uint64_t block;
    std::vector<float> levels{};

    friend std::ostream &operator<<(std::ostream &out, const Codes &codes) {
        return out << codes.name << " in blocks of " << codes.block;
    }
};

// With both zeros, and in an order of their own, as bitsandbytes' FP4 has them.
inline const std::vector<float> levels_in_disorder = {0,    0x1p-8f,  0.6875f,  1,  0.375f,  0.5f,  0.1875f,  0.25f,
                                                      0,    -0x1p-8f, -0.6875f, -1, -0.375f, -0.5f, -0.1875f, -0.25f};
inline const std::vector<float> levels_that_rise = {-1,    -0.7f, -0.53f, -0.39f, -0.28f, -0.18f, -0.09f, 0,
                                                    0.08f, 0.16f, 0.25f,  0.34f,  0.44f,  0.56f,  0.72f,  1};

// Finer near 0, as a dynamic map is.
inline std::vector<float> make_fine_levels() {
    std::vector<float> levels;
    for (int i = -127; i <= 128; ++i) levels.push_back(static_cast<float>(i * std::abs(i)) / (128 * 128));
    return levels;
}

inline const Codes levels8{"8-bit levels", SPEFT_CODING_LEVELS8, 256, make_fine_levels()};
inline const std::vector<Codes> codings_of_levels = {
    {"rising levels", SPEFT_CODING_LEVELS4, 64, levels_that_rise},
    {"levels in disorder", SPEFT_CODING_LEVELS4, 32, levels_in_disorder},
    {"rising levels", SPEFT_CODING_LEVELS4, 4096, levels_that_rise},
    levels8,
};
inline const std::vector<Codes> codings_of_weights = {
    codings_of_levels[0], codings_of_levels[1], codings_of_levels[2],
    {"int8", SPEFT_CODING_INT8, 77},
    {"int8", SPEFT_CODING_INT8, 1},
    {"int8", SPEFT_CODING_INT8, 40000},
};
inline const std::vector<Codes> codings = [] {
    std::vector<Codes> all = codings_of_weights;
    all.push_back(levels8);
    return all;
}();

}  // namespace conformance
