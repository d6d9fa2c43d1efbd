// The k largest of gradients that are never there as a whole: a few rows of one at a time, by the kernels that add
// dense products and with the same sums, and of each the candidates for the k largest.
//
// Scratch: the candidates (top_candidates.h); some rows of the widest weight, 8 MiB of them or 72 rows if that is
// more; and the strips of one product, at most 1 MiB for the rows and 8 MiB for columns.
#include <algorithm>
#include <limits>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/everywhere.h"
#include "backends/cpu/product/top_candidates.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

// A strip of columns is packed again for each block of rows, which few rows would not repay. Multiples of what any
// kernel takes for a tile, as far as they can be.
constexpr std::uint64_t block_scalars = 1 << 21, row_multiple = 24, fewest_rows = 72, most_rows = 1032;
constexpr std::uint64_t most_columns = 8160;

struct Matrix {
    std::uint64_t rows, columns;

    explicit Matrix(const speft_product_score &score) : rows(score.out), columns(score.in) {
        if (score.layout == SPEFT_LAYOUT_IN_OUT) std::swap(rows, columns);
    }

    std::uint64_t size() const { return rows * columns; }

    std::uint64_t block_rows() const {
        const std::uint64_t fitting = block_scalars / std::max<std::uint64_t>(columns, 1) / row_multiple * row_multiple;
        return std::min(std::clamp(fitting, fewest_rows, most_rows), rows);
    }
};

class ProductSelection {
public:
    ProductSelection(const speft_backend_device &device, const speft_select_product &arguments,
                     const ProductKernels &kernels)
        : device_(device), arguments_(arguments), kernels_(kernels) {
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) {
            const speft_product_score &score = arguments.scores[tensor];
            const Matrix matrix(score);
            total_ += matrix.size();
            block_size_ = std::max(block_size_, matrix.block_rows() * matrix.columns);
            for (std::uint64_t part = 0; part < score.count; ++part)
                strip_bytes_ = std::max(strip_bytes_, count_strip_bytes(matrix, score, score.parts[part]));
        }
    }

    std::uint64_t scratch_bytes() const {
        return block_size_ * sizeof(float) + strip_bytes_ + TopCandidates::scratch_bytes(arguments_.k, total_);
    }

    void run(void *scratch) {
        float *const block = static_cast<float *>(scratch);
        unsigned char *const strips = reinterpret_cast<unsigned char *>(block + block_size_);
        TopCandidates candidates(device_, arguments_.tensors, arguments_.k, total_, strips + strip_bytes_);
        for (std::uint64_t tensor = 0; tensor < arguments_.tensors; ++tensor)
            add_tensor(tensor, candidates, block, strips);
        *arguments_.eligible = candidates.eligible();
        if (candidates.eligible() >= arguments_.k) candidates.write(arguments_.indices, arguments_.counts);
    }

private:
    // The first block of rows and of columns is as large as any.
    std::uint64_t count_strip_bytes(const Matrix &matrix, const speft_product_score &score,
                                    const speft_product_factors &part) const {
        const Product factors = Product(part, score).part(0, matrix.block_rows(), 0,
                                                          std::min(most_columns, matrix.columns));
        return ProductEverywhere(device_, {factors, part.tokens, part.scale, nullptr, 0}, kernels_).scratch_bytes();
    }

    void add_tensor(std::uint64_t tensor, TopCandidates &candidates, float *block, void *strips) {
        const speft_product_score &score = arguments_.scores[tensor];
        const Matrix matrix(score);
        if (matrix.size() == 0) return;
        const std::uint32_t *excluded = score.excluded, *const excluded_end = excluded + score.excluded_count;
        for (std::uint64_t row = 0; row < matrix.rows; row += matrix.block_rows()) {
            const std::uint64_t rows = std::min(matrix.block_rows(), matrix.rows - row);
            const std::uint64_t first = row * matrix.columns, size = rows * matrix.columns;
            compute_rows(score, matrix, row, rows, block, strips);
            for (; excluded < excluded_end && *excluded < first + size; ++excluded)
                block[*excluded - first] = std::numeric_limits<float>::quiet_NaN();
            candidates.add(tensor, first, {block, size});
            report(size);
        }
    }

    void compute_rows(const speft_product_score &score, const Matrix &matrix, std::uint64_t row, std::uint64_t rows,
                      float *block, void *strips) const {
        constexpr std::uint64_t piece_size = 65536;
        for_each_piece(device_, Pieces(piece_size, rows * matrix.columns),
                       [&](Piece piece, std::int64_t) { std::fill(block + piece.begin, block + piece.end, 0.0f); });
        for (std::uint64_t index = 0; index < score.count; ++index) {
            const speft_product_factors &part = score.parts[index];
            if (part.tokens == 0) continue;
            const Product factors(part, score);
            for (std::uint64_t column = 0; column < matrix.columns; column += most_columns) {
                const std::uint64_t columns = std::min(most_columns, matrix.columns - column);
                const DenseProduct product = {factors.part(row, rows, column, columns), part.tokens, part.scale,
                                              block + column, matrix.columns};
                ProductEverywhere(device_, product, kernels_).run(strips);
            }
        }
    }

    void report(std::uint64_t scalars) {
        done_ += scalars;
        const speft_progress *progress = arguments_.progress;
        if (progress && progress->report(progress->user, static_cast<std::int64_t>(done_),
                                         static_cast<std::int64_t>(total_)) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }

    const speft_backend_device &device_;
    const speft_select_product &arguments_;
    const ProductKernels &kernels_;
    std::uint64_t total_ = 0;
    std::uint64_t block_size_ = 0;   // of the largest block
    std::uint64_t strip_bytes_ = 0;  // of the product that needs most
    std::uint64_t done_ = 0;
};

}  // namespace

std::uint64_t select_product_scratch(const speft_backend_device &device, const speft_select_product &arguments,
                                     const ProductKernels &kernels) {
    return ProductSelection(device, arguments, kernels).scratch_bytes();
}

void select_product(const speft_backend_device &device, const speft_select_product &arguments,
                    const ProductKernels &kernels, void *scratch) {
    ProductSelection(device, arguments, kernels).run(scratch);
}

}  // namespace speft::cpu
