// The best approximation of a matrix by one of lower rank, as core/base/low_rank.h describes it. The matrix stays on
// the device, and nearly all arithmetic with it: products of it with some vectors. These are made orthonormal on the
// host, and eigenvectors of their Gram matrix are found there: masks are chosen rarely.
//
// Scratch: the vectors of both sides, and the Gram matrix in float64. The host holds the vectors of one side, twice,
// and what linear_algebra.h says that Eigen takes; it grows with a side of the matrix and the rank.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/kernels/products.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/operations.h"
#include "core/base/algebra/linear_algebra.h"
#include "core/base/low_rank.h"
#include "core/base/status.h"

namespace speft::cuda {
namespace {

constexpr const char *name = "factorize";

class Factorization {
public:
    Factorization(const speft_backend_device &device, const speft_factorize &arguments)
        : device_(device),
          arguments_(arguments),
          is_tall_(arguments.rows >= arguments.columns),
          longer_(std::max(arguments.rows, arguments.columns)),
          shorter_(std::min(arguments.rows, arguments.columns)),
          is_exact_(shorter_ <= low_rank::exact_size),
          vectors_(is_exact_ ? arguments.rank : low_rank::count_vectors(arguments.rank, shorter_)) {}

    std::uint64_t scratch_bytes() const {
        const std::uint64_t vectors = is_exact_ ? 0 : (shorter_ + longer_) * vectors_;
        return gram_size() * gram_size() * sizeof(double) + vectors * sizeof(float);
    }

    void run(void *scratch) {
        gram_ = static_cast<double *>(scratch);
        choose_scale();
        float *const of_shorter = is_tall_ ? arguments_.right : arguments_.left;
        if (is_exact_)
            find_vectors(of_shorter);
        else
            iterate_vectors(reinterpret_cast<float *>(gram_ + gram_size() * gram_size()), of_shorter);
        scale_ = 1;
        multiply_shorter(of_shorter, arguments_.rank, is_tall_ ? arguments_.left : arguments_.right);
    }

private:
    std::uint64_t gram_size() const { return is_exact_ ? shorter_ : vectors_; }

    void copy_to_device(float *target, const std::vector<float> &source) const {
        check(cudaMemcpyAsync(target, source.data(), source.size() * sizeof(float), cudaMemcpyHostToDevice,
                              device_.stream),
              name);
        wait(device_);
    }

    // By a power of two that brings the largest entry to about 1, so that no square of a sum overflows or vanishes. The
    // host looks at the weights once, some at a time.
    void choose_scale() {
        constexpr std::uint64_t piece_size = 1 << 20;
        const std::uint64_t count = arguments_.rows * arguments_.columns;
        float largest = 0;
        visit_scalar(arguments_.weights_type, [&](auto scalar) {
            using Scalar = decltype(scalar);
            std::vector<Scalar> piece(std::min(piece_size, count));
            for (std::uint64_t first = 0; first < count; first += piece_size) {
                const std::uint64_t length = std::min(piece_size, count - first);
                read(device_, piece.data(), static_cast<const Scalar *>(arguments_.weights) + first,
                     length * sizeof(Scalar));
                for (std::uint64_t i = 0; i < length; ++i) {
                    const float weight = to_float(piece[i]);
                    if (!std::isfinite(weight)) refuse_weight(weight, first + i);
                    largest = std::max(largest, std::fabs(weight));
                }
            }
        });
        // Of the smallest weights it would overflow.
        constexpr int largest_exponent = 120;
        scale_ = largest > 0 ? std::ldexp(1.0f, std::min(-std::ilogb(largest), largest_exponent)) : 1;
    }

    [[noreturn]] void refuse_weight(float weight, std::uint64_t place) const {
        refuse("factorize: weights must be finite; got " + std::to_string(weight) + " at row " +
               std::to_string(place / arguments_.columns) + ", column " + std::to_string(place % arguments_.columns));
    }

    // ---- products ----

    Factor matrix(bool lines_adjacent) const {
        return {arguments_.weights, arguments_.weights_type, lines_adjacent, arguments_.columns};
    }

    // product[lines][count] = scale · lines of the matrix · vectors[terms][count]
    void multiply(const Factor &lines, std::uint64_t line_count, std::uint64_t terms, const float *vectors,
                  std::uint64_t count, float *product) const {
        multiply_by_tiles(device_, name,
                          {.a = lines,
                           .b = {vectors, SPEFT_SCALAR_FLOAT32, true, count},
                           .rows = line_count,
                           .columns = count,
                           .terms = terms,
                           .target = product,
                           .target_type = SPEFT_SCALAR_FLOAT32,
                           .accumulate = false,
                           .lower = false,
                           .scale = scale_});
    }

    // From vectors of the shorter side to vectors of the longer one.
    void multiply_shorter(const float *vectors, std::uint64_t count, float *product) const {
        multiply(matrix(!is_tall_), longer_, shorter_, vectors, count, product);
    }

    void multiply_longer(const float *vectors, std::uint64_t count, float *product) const {
        multiply(matrix(is_tall_), shorter_, longer_, vectors, count, product);
    }

    // vectors[size][rank] of the Gram matrix of lines
    std::vector<double> find_leading(const Factor &lines, std::uint64_t size, std::uint64_t terms) const {
        find_gram(device_, name, lines, size, terms, gram_);
        std::vector<double> lower(size * size);
        read(device_, lower.data(), gram_, lower.size() * sizeof(double));
        return algebra::Gram(size, lower.data()).find_leading_eigenvectors(arguments_.rank);
    }

    // ---- the vectors of the shorter side ----

    void find_vectors(float *found) const {
        const std::vector<double> leading = find_leading(matrix(is_tall_), shorter_, longer_);
        copy_to_device(found, std::vector<float>(leading.begin(), leading.end()));
    }

    void iterate_vectors(float *shorter, float *found) const {
        float *const longer = shorter + shorter_ * vectors_;
        std::vector<float> vectors(shorter_ * vectors_), work;
        for (std::uint64_t place = 0; place < vectors.size(); ++place) vectors[place] = low_rank::draw_entry(place);
        copy_to_device(shorter, vectors);
        const auto orthonormalize = [&](float *columns, std::uint64_t rows) {
            vectors.resize(rows * vectors_);
            work.resize(vectors.size());
            read(device_, vectors.data(), columns, vectors.size() * sizeof(float));
            algebra::orthonormalize(vectors.data(), rows, vectors_, work.data());
            copy_to_device(columns, vectors);
        };
        for (int iteration = 0; iteration < low_rank::iterations; ++iteration) {
            multiply_shorter(shorter, vectors_, longer);
            orthonormalize(longer, longer_);
            multiply_longer(longer, vectors_, shorter);
            orthonormalize(shorter, shorter_);
        }
        // The best of the space that they span; `vectors` holds the last ones.
        multiply_shorter(shorter, vectors_, longer);
        const std::vector<double> leading =
            find_leading({longer, SPEFT_SCALAR_FLOAT32, true, vectors_}, vectors_, longer_);
        work.resize(shorter_ * arguments_.rank);
        algebra::multiply(vectors.data(), leading.data(), shorter_, vectors_, arguments_.rank, work.data());
        copy_to_device(found, work);
    }

    const speft_backend_device &device_;
    const speft_factorize &arguments_;
    const bool is_tall_;
    const std::uint64_t longer_, shorter_;
    const bool is_exact_;
    const std::uint64_t vectors_;  // that are iterated
    float scale_ = 1;
    double *gram_ = nullptr;
};

}  // namespace

std::uint64_t factorize_scratch(const speft_backend_device &device, const speft_factorize &arguments) {
    return Factorization(device, arguments).scratch_bytes();
}

void factorize(speft_backend_device &device, const speft_factorize &arguments, void *scratch) {
    Factorization(device, arguments).run(scratch);
}

}  // namespace speft::cuda
