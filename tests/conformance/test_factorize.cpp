#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <numeric>
#include <optional>

#include "speft/status.h"
#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Shape {
    std::uint64_t rows, columns;
    friend std::ostream &operator<<(std::ostream &out, const Shape &shape) {
        return out << shape.rows << " × " << shape.columns;
    }
};

struct Factors {
    std::vector<float> left, right;
};

class Placed {
public:
    Placed(Device &device, const Shape &shape, const Tensor &weights, std::uint64_t rank)
        : weights_(device, weights),
          left_(device, std::vector<float>(shape.rows * rank, untouched)),
          right_(device, std::vector<float>(shape.columns * rank, untouched)),
          arguments{.weights = weights_.data(),
                    .rows = shape.rows,
                    .columns = shape.columns,
                    .rank = rank,
                    .left = left_.data(),
                    .right = right_.data(),
                    .weights_type = weights.type(),
                    .reserved = 0} {}

    Factors read() const { return {left_.read(), right_.read()}; }

private:
    static constexpr float untouched = std::numeric_limits<float>::quiet_NaN();

    DeviceTensor weights_;
    DeviceArray<float> left_, right_;

public:
    const speft_factorize arguments;
};

std::optional<Factors> run(const Subject &subject, const Settings &settings, const Shape &shape, const Tensor &weights,
                           std::uint64_t rank) {
    Device device(*subject.table, settings);
    const Placed placed(device, shape, weights, rank);
    if (!device.run(subject, &placed.arguments)) return {};
    return placed.read();
}

using Matrix = std::vector<double>;  // by rows

double norm(const Matrix &matrix) {
    return std::sqrt(std::inner_product(matrix.begin(), matrix.end(), matrix.begin(), 0.0));
}

Matrix difference(Matrix a, const Matrix &b) {
    for (std::uint64_t i = 0; i < a.size(); ++i) a[i] -= b[i];
    return a;
}

Matrix multiply(const Factors &factors, const Shape &shape) {
    const std::uint64_t rank = factors.left.size() / std::max<std::uint64_t>(shape.rows, 1);
    Matrix product(shape.rows * shape.columns);
    for (std::uint64_t i = 0; i < product.size(); ++i) {
        const float *const left = factors.left.data() + i / shape.columns * rank;
        const float *const right = factors.right.data() + i % shape.columns * rank;
        product[i] = std::inner_product(left, left + rank, right, 0.0);
    }
    return product;
}

// Of the norm of the matrix, for the norm of the difference: vectors have float32 entries, and products with them are
// sums over a side, each term of which may be rounded once more. A vector that is off by ε leaves out ε of its own
// component and takes in as much of another.
double tolerance_of(const Shape &shape) { return 2.0 * static_cast<double>(shape.rows + shape.columns) * 0x1p-24; }

// ---- by Jacobi's method ----

// The best approximation, by one-sided rotations in float64: they make the columns of the matrix orthogonal.
Matrix approximate(const Shape &shape, const Matrix &matrix, std::uint64_t rank) {
    const std::uint64_t rows = shape.rows, columns = shape.columns;
    Matrix turned = matrix, rotations(columns * columns);
    for (std::uint64_t i = 0; i < columns; ++i) rotations[i * columns + i] = 1;
    const auto dot = [&](std::uint64_t a, std::uint64_t b) {
        double sum = 0;
        for (std::uint64_t row = 0; row < rows; ++row) sum += turned[row * columns + a] * turned[row * columns + b];
        return sum;
    };
    const auto rotate = [&](Matrix &of, std::uint64_t a, std::uint64_t b, double cosine, double sine) {
        for (std::uint64_t row = 0; row * columns < of.size(); ++row) {
            double &first = of[row * columns + a], &second = of[row * columns + b];
            const double before = first;
            first = cosine * before - sine * second;
            second = sine * before + cosine * second;
        }
    };
    constexpr int sweeps = 30;  // a handful is enough
    for (int sweep = 0; sweep < sweeps; ++sweep)
        for (std::uint64_t a = 0; a < columns; ++a)
            for (std::uint64_t b = a + 1; b < columns; ++b) {
                const double across = dot(a, b);
                if (across == 0) continue;
                const double ratio = (dot(b, b) - dot(a, a)) / (2 * across);
                const double tangent = std::copysign(1 / (std::fabs(ratio) + std::hypot(1, ratio)), ratio);
                const double cosine = 1 / std::hypot(1, tangent);
                rotate(turned, a, b, cosine, cosine * tangent);
                rotate(rotations, a, b, cosine, cosine * tangent);
            }
    std::vector<std::uint64_t> order(columns);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::uint64_t a, std::uint64_t b) { return dot(a, a) > dot(b, b); });
    Matrix best(matrix.size());
    for (std::uint64_t q = 0; q < rank; ++q)
        for (std::uint64_t row = 0; row < rows; ++row)
            for (std::uint64_t column = 0; column < columns; ++column)
                best[row * columns + column] +=
                    turned[row * columns + order[q]] * rotations[column * columns + order[q]];
    return best;
}

// ---- with known singular values ----

// Columns of signs that repeat after 8 rows and are orthogonal to each other.
double walsh(std::uint64_t row, std::uint64_t q) { return __builtin_popcountll(row & (q + 1)) % 2 ? -1 : 1; }

constexpr std::uint64_t known_rank = 6;

// Σ_{q < terms} 2^(5 − q)·u_q·v_qᵀ of such columns u and v: whole numbers that every type holds.
Matrix make_known(const Shape &shape, std::uint64_t terms) {
    double period[8][8] = {};
    for (std::uint64_t row = 0; row < 8; ++row)
        for (std::uint64_t column = 0; column < 8; ++column)
            for (std::uint64_t q = 0; q < std::min(terms, known_rank); ++q)
                period[row][column] += walsh(row, q) * walsh(column, q) * static_cast<double>(32u >> q);
    Matrix sum(shape.rows * shape.columns);
    for (std::uint64_t i = 0; i < sum.size(); ++i) sum[i] = period[i / shape.columns % 8][i % shape.columns % 8];
    return sum;
}

Tensor make_tensor(std::int32_t type, const Matrix &matrix, int exponent = 0) {
    Tensor tensor(type, matrix.size());
    for (std::uint64_t i = 0; i < matrix.size(); ++i)
        tensor.set(i, static_cast<float>(std::ldexp(matrix[i], exponent)));
    return tensor;
}

void check_known(const Subject &subject, const Shape &shape, std::int32_t type, std::uint64_t rank) {
    const Matrix matrix = make_known(shape, known_rank), best = make_known(shape, rank);
    const auto factors = run(subject, one_thread, shape, make_tensor(type, matrix), rank);
    if (!factors) return;
    BOOST_TEST(norm(difference(multiply(*factors, shape), best)) <= tolerance_of(shape) * norm(matrix));
}

const std::vector<Shape> small_shapes = {{1, 1}, {5, 3}, {3, 5}, {17, 9}, {1, 30}, {30, 40}, {40, 30}};
// Multiples of 8, to either side of where the method changes; and longer than what is multiplied at a time.
const std::vector<Shape> known_shapes = {{8, 16}, {512, 520}, {520, 528}, {528, 520}};
const std::vector<Shape> long_shapes = {{520, 8200}, {8200, 520}};

}  // namespace

BOOST_AUTO_TEST_SUITE(factorize)

BOOST_DATA_TEST_CASE(matches_jacobis_method,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(small_shapes) *
                         data::make(scalar_types),
                     subject, shape, type) {
    const Tensor weights = make_ordinary(type, shape.rows * shape.columns, 1);
    const Matrix matrix = values_of(weights);
    const std::uint64_t most = std::min(shape.rows, shape.columns);
    for (const std::uint64_t rank : {std::uint64_t{1}, (most + 1) / 2, most}) {
        BOOST_TEST_CONTEXT("rank " << rank) {
            const auto factors = run(subject, one_thread, shape, weights, rank);
            if (!factors) continue;
            const Matrix best = approximate(shape, matrix, rank);
            BOOST_TEST(norm(difference(multiply(*factors, shape), best)) <= tolerance_of(shape) * norm(matrix));
        }
    }
}

BOOST_DATA_TEST_CASE(finds_known_singular_vectors,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(known_shapes) * data::make({4, 7}),
                     subject, shape, rank) {
    check_known(subject, shape, SPEFT_SCALAR_FLOAT32, static_cast<std::uint64_t>(rank));
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make({known_shapes[2], known_shapes[3]}) *
                         data::make(scalar_types),
                     subject, shape, type) {
    check_known(subject, shape, type, 3);
}

BOOST_DATA_TEST_CASE(finds_known_singular_vectors_of_long_matrices,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(long_shapes), subject, shape) {
    check_known(subject, shape, SPEFT_SCALAR_BFLOAT16, 3);
}

// As many vectors as the shorter side has, which is less than are otherwise iterated.
BOOST_DATA_TEST_CASE(reproduces_a_matrix_at_its_full_rank, data::make(subjects(SPEFT_OPERATION_FACTORIZE)), subject) {
    const Shape shape = {516, 514};
    const Tensor weights = make_ordinary(SPEFT_SCALAR_FLOAT32, shape.rows * shape.columns, 1);
    const auto factors = run(subject, one_thread, shape, weights, shape.columns);
    if (!factors) return;
    const Matrix matrix = values_of(weights);
    BOOST_TEST(norm(difference(multiply(*factors, shape), matrix)) <= tolerance_of(shape) * norm(matrix));
}

// Any of several approximations is the best one.
BOOST_DATA_TEST_CASE(takes_any_of_equal_singular_values,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make({20, 600}), subject, length) {
    const auto size = static_cast<std::uint64_t>(length);
    const Shape shape = {size, size};
    Matrix identity(size * size);
    for (std::uint64_t i = 0; i < size; ++i) identity[i * size + i] = 1;
    const std::uint64_t rank = 3;
    const auto factors = run(subject, one_thread, shape, make_tensor(SPEFT_SCALAR_FLOAT32, identity), rank);
    if (!factors) return;
    const double error = norm(difference(multiply(*factors, shape), identity));
    const double best = std::sqrt(static_cast<double>(size - rank));
    BOOST_TEST(std::fabs(error - best) <= tolerance_of(shape) * norm(identity));
}

BOOST_DATA_TEST_CASE(is_zero_for_zeros,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(known_shapes), subject, shape) {
    const auto factors = run(subject, one_thread, shape, Tensor(SPEFT_SCALAR_BFLOAT16, shape.rows * shape.columns), 2);
    if (factors) BOOST_TEST(norm(multiply(*factors, shape)) == 0);
}

// Weights whose squares float32 does not hold.
BOOST_DATA_TEST_CASE(takes_large_and_small_weights,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make({known_shapes[0], known_shapes[2]}) *
                         data::make({-110, 100}),
                     subject, shape, exponent) {
    const Matrix matrix = make_known(shape, known_rank), best = make_known(shape, 3);
    const auto factors = run(subject, one_thread, shape, make_tensor(SPEFT_SCALAR_FLOAT32, matrix, exponent), 3);
    if (!factors) return;
    Matrix product = multiply(*factors, shape);
    for (double &entry : product) entry = std::ldexp(entry, -exponent);
    BOOST_TEST(norm(difference(product, best)) <= tolerance_of(shape) * norm(matrix));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(other_settings) *
                         data::make({Shape{70, 50}, Shape{515, 530}}),
                     subject, settings, shape) {
    const Tensor weights = make_ordinary(SPEFT_SCALAR_BFLOAT16, shape.rows * shape.columns, 1);
    const auto expected = run(subject, one_thread, shape, weights, 3);
    const auto actual = run(subject, settings, shape, weights, 3);
    if (!expected) return;
    check_same(actual->left, expected->left);
    check_same(actual->right, expected->right);
}

BOOST_DATA_TEST_CASE(refuses_weights_that_are_not_finite,
                     data::make(subjects(SPEFT_OPERATION_FACTORIZE)) * data::make(scalar_types) *
                         data::make({std::numeric_limits<float>::quiet_NaN(),
                                     -std::numeric_limits<float>::infinity()}),
                     subject, type, value) {
    const Shape shape = {30, 20};
    Tensor weights = make_ordinary(type, shape.rows * shape.columns, 1);
    weights.set(7 * shape.columns + 13, value);
    Device device(*subject.table);
    const Placed placed(device, shape, weights, 2);
    if (subject.implementation->refuse(device.handle(), &placed.arguments)) return;
    std::string message;
    BOOST_TEST(device.run_failing(subject, &placed.arguments, message) == SPEFT_INVALID_ARGUMENT);
    BOOST_TEST(message.find("finite") != std::string::npos, message);
    BOOST_TEST(message.find("row 7, column 13") != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE_END()
