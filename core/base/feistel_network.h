// What a keyed permutation mixes with; random.h makes it and says how it is used. Without functions, so that files for
// other instruction sets can include it.
#pragma once

#include <cstdint>

namespace speft {

struct FeistelNetwork {
    static constexpr unsigned rounds = 8;
    unsigned right_bits;
    std::uint32_t left_mask;
    std::uint32_t right_mask;
    std::uint32_t keys[rounds];
};

}  // namespace speft
