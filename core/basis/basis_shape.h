// The sizes of a basis, and which way round products in it are less work.
#pragma once

#include <cstdint>

namespace speft {

struct BasisShape {
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::uint64_t row_directions = 0;  // that are kept: at least 1
    std::uint64_t column_directions = 0;

    // Δ̃ is turned back on the side of the rows first; else on that of the columns.
    bool rows_first() const { return column_directions <= row_directions; }
    // Whether a gradient from activations comes into the basis as activations; else it is computed before.
    bool rotates_activations(std::uint64_t tokens) const;
    // Whether a product of so many tokens with Δ takes fewer multiplications through the basis than with Δ̃ of so many
    // selected scalars turned back.
    bool applies_cheaper(std::uint64_t tokens, std::uint64_t selected) const;
};

}  // namespace speft
