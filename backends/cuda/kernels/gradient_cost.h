// Whether the selected scalars of a gradient are cheaper one by one or with all their neighbours, in dense tiles.
#pragma once

#include <cstdint>

namespace speft::cuda {

// What is compared. The number of tokens is in every term and falls out.
struct GradientShape {
    std::uint64_t selected;
    std::uint64_t rows, columns;
    std::uint64_t scalar_bytes;  // of a factor's element
    bool tensor_cores;           // what would multiply the tiles
    std::uint64_t multiprocessors;
};

// In bytes that a second-level cache delivers, for each token. Derived from what an H200 is said to do, and to be
// measured there: the cache gives 5.5 TB/s and memory 4; tiles make 200,000 products each nanosecond with tensor
// cores, and 25,000 without.
inline constexpr double tensor_core_product_bytes = 5500.0 / 200e3, plain_product_bytes = 5500.0 / 25e3;
inline constexpr double memory_byte = 5.5 / 4;
inline constexpr std::uint64_t gradient_tile_side = 128;

// One by one: all factors are turned once, read and written; each scalar then reads its column, and shares its row
// with some others.
inline double gather_cost(const GradientShape &shape) {
    const double bytes = static_cast<double>(shape.scalar_bytes);
    return bytes * (2 * memory_byte * static_cast<double>(shape.rows + shape.columns) +
                    static_cast<double>(shape.selected));
}

// In tiles: as many rounds of one tile a multiprocessor as it takes.
inline double tile_cost(const GradientShape &shape) {
    const auto tiles = [](std::uint64_t width) { return (width + gradient_tile_side - 1) / gradient_tile_side; };
    const std::uint64_t all = tiles(shape.rows) * tiles(shape.columns);
    const std::uint64_t rounds = (all + shape.multiprocessors - 1) / shape.multiprocessors;
    return static_cast<double>(rounds * shape.multiprocessors * gradient_tile_side * gradient_tile_side) *
           (shape.tensor_cores ? tensor_core_product_bytes : plain_product_bytes);
}

inline bool is_gather_cheaper(const GradientShape &shape) { return gather_cost(shape) < tile_cost(shape); }

}  // namespace speft::cuda
