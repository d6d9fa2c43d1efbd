#include "core/base/algebra/eigenvectors.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/base/algebra/lapack_library.h"
#include "core/base/algebra/linear_algebra.h"
#include "core/base/status.h"

namespace speft::algebra {

void copy_symmetric(const float *lower, std::uint64_t size, double *matrix) {
    for (std::uint64_t row = 0; row < size; ++row)
        for (std::uint64_t column = 0; column <= row; ++column)
            matrix[row * size + column] = matrix[column * size + row] = lower[row * size + column];
}

void write_leading(const double *vectors, const double *values, std::uint64_t size, std::uint64_t count,
                   float *leading, double *falling) {
    for (std::uint64_t place = 0; place < count; ++place) {
        const double *const vector = vectors + (size - 1 - place) * size;
        const double *const largest = std::max_element(
            vector, vector + size, [](double a, double b) { return std::fabs(a) < std::fabs(b); });
        const double sign = *largest < 0 ? -1 : 1;
        std::transform(vector, vector + size, leading + place * size,
                       [sign](double entry) { return static_cast<float>(sign * entry); });
    }
    std::reverse_copy(values, values + size, falling);
}

void find_leading_eigenvectors(const float *lower, std::uint64_t size, std::uint64_t count, float *leading,
                               double *falling) {
    std::vector<double> matrix(size * size), values(size);
    copy_symmetric(lower, size, matrix.data());
    find_eigenvectors(matrix.data(), size, values.data());
    write_leading(matrix.data(), values.data(), size, count, leading, falling);
}

const char *refuse_lapack(std::uint64_t size) {
    constexpr std::uint64_t longest = 32000;  // its sizes are 32-bit integers
    if (size > longest) return "LAPACK's work space for it has more entries than LAPACK can count";
    return Lapack::why_not();
}

std::uint64_t count_lapack_bytes(std::uint64_t size) {
    return (size * size + size + Lapack::work_size(size)) * sizeof(double) +
           Lapack::integers_size(size) * sizeof(std::int32_t);
}

void find_leading_eigenvectors_by_lapack(const float *lower, std::uint64_t size, std::uint64_t count, float *leading,
                                         double *falling, void *memory) {
    double *const matrix = static_cast<double *>(memory), *const values = matrix + size * size;
    double *const work = values + size;
    auto *const integers = reinterpret_cast<std::int32_t *>(work + Lapack::work_size(size));
    copy_symmetric(lower, size, matrix);
    const int info =
        Lapack::get()->find_eigenvectors(static_cast<std::int32_t>(size), matrix, values, work, integers);
    if (info != 0)
        throw Failure(SPEFT_INTERNAL, "LAPACK's DSYEVD finds no eigenvectors: info " + std::to_string(info));
    write_leading(matrix, values, size, count, leading, falling);
}

}  // namespace speft::algebra
