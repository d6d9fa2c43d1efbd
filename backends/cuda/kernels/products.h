// Dense products by tiles, for every operation that is made of them.
#pragma once

#include <cstdint>

#include "backends/cuda/device.h"
#include "core/base/scalar.h"

namespace speft::cuda {

// A factor as lines of terms: a product sums over the terms of a line of each factor. Entry (line, term) stands at
// line·stride + term, or where lines are adjacent at term·stride + line.
struct Factor {
    const void *values;
    std::int32_t type;
    bool lines_adjacent;
    std::uint64_t stride;
};

// target[i, j] = round(base + scale · Σ a(i, term)·b(j, term)), base as in speft_multiply.
struct TileProduct {
    Factor a, b;
    std::uint64_t rows, columns, terms;
    void *target;
    std::int32_t target_type;
    bool accumulate;
    bool lower;  // a Gram matrix, of which the tiles on and below the diagonal are wanted
    float scale;
};

// Each element is summed in float32 in the order of its terms, whatever the tiles.
void multiply_by_tiles(const speft_backend_device &device, const char *name, const TileProduct &product);

// Σ lines(i, term)·lines(j, term), summed in float64: gram[size, size], on and below the diagonal.
void find_gram(const speft_backend_device &device, const char *name, const Factor &lines, std::uint64_t size,
               std::uint64_t terms, double *gram);

// The tiles on and below the diagonal, row by row: 0 is (0, 0), 1 and 2 are (1, 0) and (1, 1).
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
