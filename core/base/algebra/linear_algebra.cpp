#define EIGEN_MPL2_ONLY
#define EIGEN_DONT_PARALLELIZE
#include "core/base/algebra/linear_algebra.h"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>

#include "core/base/status.h"

namespace speft::algebra {
namespace {

using Eigen::Dynamic;
using ByRows = Eigen::Matrix<double, Dynamic, Dynamic, Eigen::RowMajor>;
using FloatsByRows = Eigen::Matrix<float, Dynamic, Dynamic, Eigen::RowMajor>;

Eigen::Index index(std::uint64_t size) { return static_cast<Eigen::Index>(size); }

using Solver = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>;

// Of what is on and below the diagonal, by columns.
Solver solve(const double *matrix, std::uint64_t size) {
    Solver solver(Eigen::Map<const Eigen::MatrixXd>(matrix, index(size), index(size)));
    if (solver.info() != Eigen::Success)
        throw Failure(SPEFT_INTERNAL, "the eigenvectors of a symmetric matrix do not converge");
    return solver;
}

}  // namespace

void orthonormalize(float *columns, std::uint64_t rows, std::uint64_t count, float *scratch) {
    Eigen::Map<FloatsByRows> target(columns, index(rows), index(count));
    Eigen::Map<Eigen::MatrixXf> work(scratch, index(rows), index(count));
    work = target;
    const Eigen::HouseholderQR<Eigen::Ref<Eigen::MatrixXf>> decomposition(work);
    target.setIdentity();
    decomposition.householderQ().applyThisOnTheLeft(target);
}

Gram::Gram(std::uint64_t size, const double *lower) : Gram(size) {
    for (std::uint64_t row = 0; row < size; ++row)
        for (std::uint64_t column = 0; column <= row; ++column)
            lower_[column * size + row] = lower[row * size + column];
}

void Gram::add(const double *rows, std::uint64_t count) {
    const Eigen::Map<const ByRows> matrix(rows, index(count), index(size_));
    Eigen::Map<Eigen::MatrixXd> gram(lower_.data(), index(size_), index(size_));
    gram.selfadjointView<Eigen::Lower>().rankUpdate(matrix.transpose());
}

std::vector<double> Gram::find_leading_eigenvectors(std::uint64_t count) const {
    const Solver solver = solve(lower_.data(), size_);
    std::vector<double> vectors(size_ * count);
    Eigen::Map<ByRows>(vectors.data(), index(size_), index(count)) =
        solver.eigenvectors().rightCols(index(count)).rowwise().reverse();
    return vectors;
}

void find_eigenvectors(double *matrix, std::uint64_t size, double *values) {
    const Solver solver = solve(matrix, size);
    Eigen::Map<Eigen::MatrixXd>(matrix, index(size), index(size)) = solver.eigenvectors();
    Eigen::Map<Eigen::VectorXd>(values, index(size)) = solver.eigenvalues();
}

void multiply(const float *left, const double *right, std::uint64_t rows, std::uint64_t inner, std::uint64_t columns,
              float *product) {
    constexpr std::uint64_t rows_at_a_time = 256;
    const Eigen::Map<const ByRows> right_matrix(right, index(inner), index(columns));
    for (std::uint64_t first = 0; first < rows; first += rows_at_a_time) {
        const Eigen::Index some = index(std::min(rows_at_a_time, rows - first));
        const ByRows left_rows =
            Eigen::Map<const FloatsByRows>(left + first * inner, some, index(inner)).cast<double>();
        const ByRows products = left_rows * right_matrix;
        Eigen::Map<FloatsByRows>(product + first * columns, some, index(columns)) = products.cast<float>();
    }
}

}  // namespace speft::algebra
