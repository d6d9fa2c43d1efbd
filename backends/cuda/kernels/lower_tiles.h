// The tiles on and below the diagonal of a square, row by row: 0 is (0, 0), 1 and 2 are (1, 0) and (1, 1).
#pragma once

#include <cmath>
#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

struct TilePlace {
    std::uint32_t row, column;
};

SPEFT_HOST_DEVICE inline std::uint64_t count_lower_tiles(std::uint64_t rows) { return rows * (rows + 1) / 2; }

SPEFT_HOST_DEVICE inline TilePlace find_lower_tile(std::uint32_t tile) {
    // A square root in float32 is near the row; the integers decide.
    auto row = static_cast<std::uint32_t>((sqrtf(8.0f * static_cast<float>(tile) + 1.0f) - 1.0f) / 2.0f);
    while (count_lower_tiles(row) > tile) --row;
    while (count_lower_tiles(row + 1) <= tile) ++row;
    return {row, static_cast<std::uint32_t>(tile - count_lower_tiles(row))};
}

}  // namespace speft::cuda
