// A product at every scalar of a weight, or of a part of one: tiles of it, from strips of both factors that are as
// wide as a tile.
#pragma once

#include <cstdint>

#include "backends/cpu/device.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/kernels.h"

namespace speft::cpu {

// sums[r·stride + c] += scale · Σ over the tokens of the factors at row r and column c.
struct DenseProduct {
    Product factors;
    std::uint64_t tokens;
    float scale;
    float *sums;
    std::uint64_t stride;
};

class ProductEverywhere {
public:
    ProductEverywhere(const speft_backend_device &device, const DenseProduct &product, const ProductKernels &kernels);

    std::uint64_t scratch_bytes() const;
    void run(void *scratch) const;

private:
    void fill_strips(std::uint64_t token, std::uint64_t tokens, Word *row_strips, Word *column_strips) const;
    void add_tiles(std::uint64_t words, const Word *row_strips, const Word *column_strips) const;

    const speft_backend_device &device_;
    const ProductKernels &kernels_;
    const DenseProduct product_;
    const Factor rows_, columns_;
    std::uint64_t block_words_;
    std::uint64_t row_strips_, column_strips_;
};

}  // namespace speft::cpu
