// LAPACK, from an OpenBLAS that is opened at run time where there is one.
#pragma once

#include <cstdint>

namespace speft::algebra {

class Lapack {
public:
    // NULL when there is none; it is looked for once.
    static const Lapack *get();
    // Why there is none, or NULL.
    static const char *why_not();

    // DSYEVD: all eigenvalues, rising, and eigenvectors of the symmetric matrix[size][size], in double precision, of
    // which what is on and above the diagonal (by columns) is read. The vectors replace it, one after another.
    // `work` and `integers` have the sizes below. Returns LAPACK's info, 0 for success.
    int find_eigenvectors(std::int32_t size, double *matrix, double *values, double *work,
                          std::int32_t *integers) const;
    static std::uint64_t work_size(std::uint64_t size) { return 1 + 6 * size + 2 * size * size; }
    static std::uint64_t integers_size(std::uint64_t size) { return 3 + 5 * size; }

private:
    Lapack();
    static const Lapack &look();

    using Dsyevd = void (*)(const char *job, const char *triangle, const std::int32_t *size, double *matrix,
                            const std::int32_t *stride, double *values, double *work, const std::int32_t *work_size,
                            std::int32_t *integers, const std::int32_t *integers_size, std::int32_t *info);
    Dsyevd dsyevd_ = nullptr;
    void (*set_threads_)(int) = nullptr;
    int (*get_threads_)() = nullptr;
    const char *why_not_ = nullptr;
};

}  // namespace speft::algebra
