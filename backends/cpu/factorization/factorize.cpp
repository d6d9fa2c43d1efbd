// The best approximation of a matrix by one of lower rank, as core/base/low_rank.h describes it.
//
// Nearly all time goes into products of the matrix with some vectors, which the kernels of products do, on all threads.
// Where those sum over the matrix's columns it is transposed for them, a block at a time.
//
// Scratch: the vectors of both sides, and the longer one's again; a block of the matrix, transposed, of 8 MiB; and the
// strips of one product, 1 KiB for each vector and at most 8 MiB for the matrix. linear_algebra.h says what Eigen
// takes.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/everywhere.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/algebra/linear_algebra.h"
#include "core/base/low_rank.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_side = 8160;  // of a part that is multiplied at a time: whole strips, of most kernels
constexpr std::uint64_t block_columns = 256;  // that are transposed at a time
constexpr std::uint64_t rows_at_a_time = 256;

class Factorization {
public:
    Factorization(const speft_backend_device &device, const speft_factorize &arguments, const ProductKernels &kernels)
        : device_(device),
          arguments_(arguments),
          kernels_(kernels),
          is_tall_(arguments.rows >= arguments.columns),
          longer_(std::max(arguments.rows, arguments.columns)),
          shorter_(std::min(arguments.rows, arguments.columns)),
          is_exact_(shorter_ <= low_rank::exact_size),
          vectors_(is_exact_ ? arguments.rank : low_rank::count_vectors(arguments.rank, shorter_)) {}

    std::uint64_t scratch_bytes() const { return (vectors_size() + block_size()) * sizeof(float) + strip_bytes(); }

    void run(void *scratch) {
        choose_scale();
        float *const vectors = static_cast<float *>(scratch);
        block_ = vectors + vectors_size();
        strips_ = block_ + block_size();
        float *const of_shorter = is_tall_ ? arguments_.right : arguments_.left;
        if (is_exact_)
            find_vectors(of_shorter);
        else
            iterate_vectors(vectors, of_shorter);
        scale_ = 1;
        multiply_shorter(of_shorter, arguments_.rank, is_tall_ ? arguments_.left : arguments_.right);
    }

private:
    std::uint64_t vectors_size() const { return is_exact_ ? 0 : (shorter_ + 2 * longer_) * vectors_; }
    std::uint64_t block_size() const { return block_columns * std::min(longest_side, arguments_.rows); }

    std::uint64_t strip_bytes() const {
        const Factor matrix = {nullptr, SPEFT_SCALAR_FLOAT32, std::min(longest_side, longer_), 0};
        const Factor vectors = {nullptr, SPEFT_SCALAR_FLOAT32, vectors_, 0};
        return ProductEverywhere(device_, {Product(matrix, vectors), longer_, 1, nullptr, 0}, kernels_).scratch_bytes();
    }

    // By a power of two that brings the largest entry to about 1, so that no square of a sum overflows or vanishes.
    void choose_scale() {
        constexpr std::uint64_t piece_size = 65536;
        std::atomic<std::uint32_t> most{0};
        const std::uint64_t count = arguments_.rows * arguments_.columns;
        visit_scalar(arguments_.weights_type, [&](auto scalar) {
            const auto *const weights = static_cast<const decltype(scalar) *>(arguments_.weights);
            for_each_piece(device_, Pieces(piece_size, count), [&](Piece piece, std::int64_t) {
                std::uint32_t magnitude = 0;
                for (std::uint64_t i = piece.begin; i < piece.end; ++i)
                    magnitude = std::max(magnitude, bit_copy<std::uint32_t>(std::fabs(to_float(weights[i]))));
                std::uint32_t before = most.load();
                while (before < magnitude && !most.compare_exchange_weak(before, magnitude)) {}
            });
            const auto is_finite = [](auto weight) { return std::isfinite(to_float(weight)); };
            if (std::isfinite(bit_copy<float>(most.load()))) return;
            const auto *const found = std::find_if_not(weights, weights + count, is_finite);
            const auto place = static_cast<std::uint64_t>(found - weights);
            refuse("factorize: weights must be finite; got " + std::to_string(to_float(weights[place])) + " at row " +
                   std::to_string(place / arguments_.columns) + ", column " +
                   std::to_string(place % arguments_.columns));
        });
        // Of the smallest weights it would overflow.
        constexpr int largest_exponent = 120;
        const float largest = bit_copy<float>(most.load());
        scale_ = largest > 0 ? std::ldexp(1.0f, std::min(-std::ilogb(largest), largest_exponent)) : 1;
    }

    // ---- products ----

    // product[columns][count] = scale · matrixᵀ · vectors[rows][count]
    void sum_over_rows(const float *vectors, std::uint64_t count, float *product) const {
        const Factor matrix = {arguments_.weights, arguments_.weights_type, arguments_.columns, arguments_.columns};
        const Factor others = {vectors, SPEFT_SCALAR_FLOAT32, count, count};
        for (std::uint64_t column = 0; column < arguments_.columns; column += longest_side) {
            const std::uint64_t columns = std::min(longest_side, arguments_.columns - column);
            add_product(matrix.part(column, columns), others, arguments_.rows, product + column * count);
        }
    }

    // product[rows][count] = scale · matrix · vectors[columns][count]
    void sum_over_columns(const float *vectors, std::uint64_t count, float *product) const {
        for (std::uint64_t row = 0; row < arguments_.rows; row += longest_side) {
            const std::uint64_t rows = std::min(longest_side, arguments_.rows - row);
            for (std::uint64_t column = 0; column < arguments_.columns; column += block_columns) {
                const std::uint64_t columns = std::min(block_columns, arguments_.columns - column);
                transpose(row, rows, column, columns);
                add_product({block_, SPEFT_SCALAR_FLOAT32, rows, rows},
                            {vectors + column * count, SPEFT_SCALAR_FLOAT32, count, count}, columns,
                            product + row * count);
            }
        }
    }

    void add_product(const Factor &matrix, const Factor &vectors, std::uint64_t tokens, float *product) const {
        ProductEverywhere(device_, {Product(matrix, vectors), tokens, scale_, product, vectors.width}, kernels_)
            .run(strips_);
    }

    // Into block[columns][rows]. Rows may lie whole pages apart, in one set of the first-level cache: it holds no more
    // of them than are taken at a time.
    void transpose(std::uint64_t first_row, std::uint64_t rows, std::uint64_t first_column,
                   std::uint64_t columns) const {
        constexpr std::uint64_t piece_size = 4;
        visit_scalar(arguments_.weights_type, [&](auto scalar) {
            const auto *const weights = static_cast<const decltype(scalar) *>(arguments_.weights) +
                                        first_row * arguments_.columns + first_column;
            for_each_piece(device_, Pieces(piece_size, rows), [&](Piece piece, std::int64_t) {
                for (std::uint64_t column = 0; column < columns; ++column)
                    for (std::uint64_t row = piece.begin; row < piece.end; ++row)
                        block_[column * rows + row] = to_float(weights[row * arguments_.columns + column]);
            });
        });
    }

    // From vectors of the shorter side to vectors of the longer one.
    void multiply_shorter(const float *vectors, std::uint64_t count, float *product) const {
        std::fill_n(product, longer_ * count, 0.0f);
        if (is_tall_)
            sum_over_columns(vectors, count, product);
        else
            sum_over_rows(vectors, count, product);
    }

    void multiply_longer(const float *vectors, std::uint64_t count, float *product) const {
        std::fill_n(product, shorter_ * count, 0.0f);
        if (is_tall_)
            sum_over_rows(vectors, count, product);
        else
            sum_over_columns(vectors, count, product);
    }

    // ---- the vectors of the shorter side ----

    void find_vectors(float *found) const {
        algebra::Gram gram(shorter_);
        std::vector<double> lines(rows_at_a_time * shorter_);
        visit_scalar(arguments_.weights_type, [&](auto scalar) {
            const auto *const weights = static_cast<const decltype(scalar) *>(arguments_.weights);
            for (std::uint64_t first = 0; first < longer_; first += rows_at_a_time) {
                const std::uint64_t count = std::min(rows_at_a_time, longer_ - first);
                for (std::uint64_t line = 0; line < count; ++line)
                    for (std::uint64_t i = 0; i < shorter_; ++i)
                        lines[line * shorter_ + i] =
                            to_float(weights[is_tall_ ? (first + line) * shorter_ + i : i * longer_ + first + line]);
                gram.add(lines.data(), count);
            }
        });
        const std::vector<double> leading = gram.find_leading_eigenvectors(arguments_.rank);
        std::transform(leading.begin(), leading.end(), found, [](double entry) { return static_cast<float>(entry); });
    }

    void iterate_vectors(float *vectors, float *found) const {
        float *const shorter = vectors, *const longer = shorter + shorter_ * vectors_;
        float *const work = longer + longer_ * vectors_;
        for (std::uint64_t place = 0; place < shorter_ * vectors_; ++place)
            shorter[place] = low_rank::draw_entry(place);
        for (int iteration = 0; iteration < low_rank::iterations; ++iteration) {
            multiply_shorter(shorter, vectors_, longer);
            algebra::orthonormalize(longer, longer_, vectors_, work);
            multiply_longer(longer, vectors_, shorter);
            algebra::orthonormalize(shorter, shorter_, vectors_, work);
        }
        // The best of the space that they span.
        multiply_shorter(shorter, vectors_, longer);
        algebra::Gram gram(vectors_);
        std::vector<double> lines(rows_at_a_time * vectors_);
        for (std::uint64_t first = 0; first < longer_; first += rows_at_a_time) {
            const std::uint64_t count = std::min(rows_at_a_time, longer_ - first);
            std::copy_n(longer + first * vectors_, count * vectors_, lines.begin());
            gram.add(lines.data(), count);
        }
        const std::vector<double> leading = gram.find_leading_eigenvectors(arguments_.rank);
        algebra::multiply(shorter, leading.data(), shorter_, vectors_, arguments_.rank, found);
    }

    const speft_backend_device &device_;
    const speft_factorize &arguments_;
    const ProductKernels &kernels_;
    const bool is_tall_;
    const std::uint64_t longer_, shorter_;
    const bool is_exact_;
    const std::uint64_t vectors_;  // that are iterated
    float scale_ = 1;
    float *block_ = nullptr;
    void *strips_ = nullptr;
};

}  // namespace

std::uint64_t factorize_scratch(const speft_backend_device &device, const speft_factorize &arguments,
                                const ProductKernels &kernels) {
    return Factorization(device, arguments, kernels).scratch_bytes();
}

void factorize(const speft_backend_device &device, const speft_factorize &arguments, const ProductKernels &kernels,
               void *scratch) {
    Factorization(device, arguments, kernels).run(scratch);
}

}  // namespace speft::cpu
