// The little dense linear algebra that a low-rank approximation needs besides products: by Eigen, on one thread.
//
// Eigen allocates for itself: at most 32 bytes for each entry of a Gram matrix, and the blocks of its products, a few
// MiB whatever the sizes.
#pragma once

#include <cstdint>
#include <vector>

namespace speft::algebra {

// Replaces columns[rows][count], rows >= count, by an orthonormal basis of what they span, and of more where they do
// not span `count` dimensions. `scratch` has as many elements.
void orthonormalize(float *columns, std::uint64_t rows, std::uint64_t count, float *scratch);

// The product of a matrix's transpose with the matrix, which comes some rows at a time, or is known; in float64.
class Gram {
public:
    explicit Gram(std::uint64_t size) : size_(size), lower_(size * size) {}
    // lower[size][size], by rows; what is above the diagonal is not read
    Gram(std::uint64_t size, const double *lower);

    // rows[count][size]
    void add(const double *rows, std::uint64_t count);
    // vectors[size][count]: those of the largest eigenvalues, the largest first.
    std::vector<double> find_leading_eigenvectors(std::uint64_t count) const;

private:
    std::uint64_t size_;
    std::vector<double> lower_;  // by columns; nothing above the diagonal
};

// The eigenvectors of a symmetric matrix[size][size], of which the triangle on and below the diagonal is read, by
// columns; one after another, in its place, and its eigenvalues, rising.
void find_eigenvectors(double *matrix, std::uint64_t size, double *values);

// product[rows][columns] = left[rows][inner] · right[inner][columns]
void multiply(const float *left, const double *right, std::uint64_t rows, std::uint64_t inner, std::uint64_t columns,
              float *product);

}  // namespace speft::algebra
