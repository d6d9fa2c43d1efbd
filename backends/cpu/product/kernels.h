// The inner loops of a product, as each instruction set has them. They see float32 panels only; add_product.cpp
// makes these and hands out the work.
#pragma once

#include <cstdint>

namespace speft::cpu {

// What the scratch of a task has room for.
inline constexpr std::uint64_t max_lanes = 16;
inline constexpr std::uint64_t max_tile = 8 * 48;

struct ProductKernels {
    // tile[lanes][stride] → panel[column][token], `columns` of them (a multiple of `lanes`) with `panel_stride`
    // floats from one to the next.
    void (*transpose)(const float *tile, std::uint64_t stride, std::uint64_t columns, float *panel,
                      std::uint64_t panel_stride);
    std::uint64_t lanes;

    // sums[j] += scale · Σ_t rows[r][t]·columns[c][t], (r, c) = divmod(indices[j], width), over `tokens` tokens, a
    // multiple of `token_multiple`.
    void (*add_sampled)(const float *rows, const float *columns, std::uint64_t panel_stride, std::uint64_t tokens,
                        std::uint32_t width, const std::uint32_t *indices, std::uint64_t count, float scale,
                        float *sums);
    std::uint64_t token_multiple;

    // product[tile_rows][tile_columns] = Σ_t rows[t][…]·columns[t][…]
    void (*multiply_tile)(const float *rows, const float *columns, std::uint64_t tokens, float *product);
    std::uint64_t tile_rows;
    std::uint64_t tile_columns;
};

extern const ProductKernels reference_kernels;
#ifdef __x86_64__
extern const ProductKernels avx2_kernels;
extern const ProductKernels avx512_kernels;
#endif

}  // namespace speft::cpu
