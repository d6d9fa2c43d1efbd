// A product at every scalar of the weight: tiles of it, from strips of both factors that are as wide as a tile.
#pragma once

#include <cstdint>

#include "backends/cpu/device.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/kernels.h"

namespace speft::cpu {

class ProductEverywhere {
public:
    ProductEverywhere(const speft_backend_device &device, const speft_add_product &arguments,
                      const ProductKernels &kernels);

    std::uint64_t scratch_bytes() const;
    void run(void *scratch) const;

private:
    void fill_strips(std::uint64_t token, std::uint64_t tokens, Word *row_strips, Word *column_strips) const;
    void add_tiles(std::uint64_t words, const Word *row_strips, const Word *column_strips) const;

    const speft_backend_device &device_;
    const speft_add_product &arguments_;
    const ProductKernels &kernels_;
    const Product product_;
    std::uint64_t block_words_;
    std::uint64_t row_strips_, column_strips_;
};

}  // namespace speft::cpu
