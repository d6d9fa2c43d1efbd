// Dense products by tiles, for every operation that is made of them.
#pragma once

#include <cstdint>

#include "backends/cuda/device.h"

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

}  // namespace speft::cuda
