// The products of a matrix's rows, or of its columns, with each other: of what is on and below the diagonal, band by
// band, each as wide as it reaches.
//
// Scratch: the strips of one product; and where rows meet, a block of the matrix, transposed.
#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/everywhere.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t band_rows = 192;      // whole strips, of all kernels; strips are filled anew for each band
constexpr std::uint64_t block_columns = 256;  // that are transposed at a time: the longest block of a product

class GramProduct {
public:
    GramProduct(const speft_backend_device &device, const speft_add_gram &arguments, const ProductKernels &kernels)
        : device_(device),
          arguments_(arguments),
          kernels_(kernels),
          size_(arguments.of_columns ? arguments.columns : arguments.rows),
          terms_(arguments.of_columns ? arguments.rows : arguments.columns) {}

    bool is_empty() const { return size_ == 0 || terms_ == 0; }

    std::uint64_t scratch_bytes() const {
        if (is_empty()) return 0;
        const Factor lines = {nullptr, SPEFT_SCALAR_FLOAT32, size_, size_};
        const std::uint64_t band = std::min(band_rows, size_);
        return block_size() * sizeof(float) +
               ProductEverywhere(device_, {{lines.part(0, band), lines}, terms_, 1, nullptr, size_}, kernels_)
                   .scratch_bytes();
    }

    void run(void *scratch) {
        block_ = static_cast<float *>(scratch);
        strips_ = block_ + block_size();
        if (arguments_.of_columns) {
            add(arguments_.matrix, terms_);
            return;
        }
        for (std::uint64_t column = 0; column < terms_; column += block_columns) {
            const std::uint64_t columns = std::min(block_columns, terms_ - column);
            transpose(column, columns);
            add(block_, columns);
        }
    }

private:
    std::uint64_t block_size() const { return arguments_.of_columns ? 0 : block_columns * size_; }

    // lines[count][size]
    void add(const float *lines, std::uint64_t count) const {
        const Factor all = {lines, SPEFT_SCALAR_FLOAT32, size_, size_};
        for (std::uint64_t first = 0; first < size_; first += band_rows) {
            const std::uint64_t rows = std::min(band_rows, size_ - first);
            const Product band{all.part(first, rows), all.part(0, first + rows)};
            ProductEverywhere(device_, {band, count, arguments_.factor, arguments_.gram + first * size_, size_},
                              kernels_)
                .run(strips_);
        }
    }

    // Into block[columns][rows]. Rows may lie whole pages apart, in one set of the first-level cache: it holds no more
    // of them than are taken at a time.
    void transpose(std::uint64_t first, std::uint64_t columns) const {
        constexpr std::uint64_t piece_size = 4;
        const float *const matrix = arguments_.matrix + first;
        for_each_piece(device_, Pieces(piece_size, size_), [&](Piece piece, std::int64_t) {
            for (std::uint64_t column = 0; column < columns; ++column)
                for (std::uint64_t row = piece.begin; row < piece.end; ++row)
                    block_[column * size_ + row] = matrix[row * arguments_.columns + column];
        });
    }

    const speft_backend_device &device_;
    const speft_add_gram &arguments_;
    const ProductKernels &kernels_;
    const std::uint64_t size_;   // of the result
    const std::uint64_t terms_;  // of each sum
    float *block_ = nullptr;
    void *strips_ = nullptr;
};

}  // namespace

std::uint64_t add_gram_scratch(const speft_backend_device &device, const speft_add_gram &arguments,
                               const ProductKernels &kernels) {
    return GramProduct(device, arguments, kernels).scratch_bytes();
}

void add_gram(const speft_backend_device &device, const speft_add_gram &arguments, const ProductKernels &kernels,
              void *scratch) {
    GramProduct product(device, arguments, kernels);
    if (!product.is_empty()) product.run(scratch);
}

}  // namespace speft::cpu
