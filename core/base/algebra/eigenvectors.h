// What the eigenvectors of SPEFT_OPERATION_FIND_EIGENVECTORS are found from and how they are told, whoever finds them.
#pragma once

#include <cstdint>

namespace speft::algebra {

// The lower triangle by rows is the upper one by columns. Both of matrix[size][size] are filled, so that either may be
// read.
void copy_symmetric(const float *lower, std::uint64_t size, double *matrix);

// From all vectors and values, rising, to those that are asked for, falling and of a sign that does not depend on how
// they were found: leading[count][size], falling[size].
void write_leading(const double *vectors, const double *values, std::uint64_t size, std::uint64_t count,
                   float *leading, double *falling);

// Both, by Eigen: linear_algebra.h says what that allocates.
void find_leading_eigenvectors(const float *lower, std::uint64_t size, std::uint64_t count, float *leading,
                               double *falling);

// NULL when there is a LAPACK that can do it for this size, else why not.
const char *refuse_lapack(std::uint64_t size);
// Both, by LAPACK, in so much memory, aligned to 8 bytes: three matrices of doubles.
std::uint64_t count_lapack_bytes(std::uint64_t size);
void find_leading_eigenvectors_by_lapack(const float *lower, std::uint64_t size, std::uint64_t count, float *leading,
                                         double *falling, void *memory);

}  // namespace speft::algebra
