// The leading eigenvectors of a symmetric matrix: by LAPACK where there is one, else by Eigen, in double precision and
// on one thread either way.
//
// Scratch of LAPACK: three matrices of doubles. Eigen allocates as many for itself.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backends/cpu/factorization/lapack_library.h"
#include "backends/cpu/factorization/linear_algebra.h"
#include "backends/cpu/operations.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

// The lower triangle by rows is the upper one by columns. Both are filled, so that either may be read.
void copy_symmetric(const speft_find_eigenvectors &arguments, double *matrix) {
    const std::uint64_t size = arguments.size;
    for (std::uint64_t row = 0; row < size; ++row)
        for (std::uint64_t column = 0; column <= row; ++column)
            matrix[row * size + column] = matrix[column * size + row] = arguments.matrix[row * size + column];
}

// From all vectors and values, rising, to those that are asked for, falling and of a sign that does not depend on how
// they were found.
void write_leading(const speft_find_eigenvectors &arguments, const double *vectors, const double *values) {
    const std::uint64_t size = arguments.size;
    for (std::uint64_t place = 0; place < arguments.count; ++place) {
        const double *const vector = vectors + (size - 1 - place) * size;
        const double *const largest = std::max_element(
            vector, vector + size, [](double a, double b) { return std::fabs(a) < std::fabs(b); });
        const double sign = *largest < 0 ? -1 : 1;
        std::transform(vector, vector + size, arguments.vectors + place * size,
                       [sign](double entry) { return static_cast<float>(sign * entry); });
    }
    std::reverse_copy(values, values + size, arguments.values);
}

}  // namespace

void find_eigenvectors(const speft_backend_device &, const speft_find_eigenvectors &arguments) {
    std::vector<double> matrix(arguments.size * arguments.size), values(arguments.size);
    copy_symmetric(arguments, matrix.data());
    find_eigenvectors(matrix.data(), arguments.size, values.data());
    write_leading(arguments, matrix.data(), values.data());
}

const char *refuse_lapack(const speft_backend_device *, const void *arguments) {
    constexpr std::uint64_t longest = 32000;  // its sizes are 32-bit integers
    if (static_cast<const speft_find_eigenvectors *>(arguments)->size > longest)
        return "LAPACK's work space for it has more entries than LAPACK can count";
    return Lapack::why_not();
}

std::uint64_t find_eigenvectors_lapack_scratch(const speft_backend_device &,
                                               const speft_find_eigenvectors &arguments) {
    const std::uint64_t size = arguments.size;
    return (size * size + size + Lapack::work_size(size)) * sizeof(double) +
           Lapack::integers_size(size) * sizeof(std::int32_t);
}

void find_eigenvectors_lapack(const speft_backend_device &, const speft_find_eigenvectors &arguments, void *scratch) {
    const std::uint64_t size = arguments.size;
    double *const matrix = static_cast<double *>(scratch), *const values = matrix + size * size;
    double *const work = values + size;
    auto *const integers = reinterpret_cast<std::int32_t *>(work + Lapack::work_size(size));
    copy_symmetric(arguments, matrix);
    const int info =
        Lapack::get()->find_eigenvectors(static_cast<std::int32_t>(size), matrix, values, work, integers);
    if (info != 0)
        throw Failure(SPEFT_INTERNAL, "LAPACK's DSYEVD finds no eigenvectors: info " + std::to_string(info));
    write_leading(arguments, matrix, values);
}

}  // namespace speft::cpu
