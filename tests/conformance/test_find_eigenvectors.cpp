#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <algorithm>
#include <numeric>
#include <optional>

#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Found {
    std::vector<float> vectors;
    std::vector<double> values;
};

// What stands above the diagonal is not to be read: it is NaN here.
std::optional<Found> run(const Subject &subject, const Settings &settings, std::vector<float> matrix,
                         std::uint64_t size, std::uint64_t count) {
    Device device(*subject.table, settings);
    for (std::uint64_t row = 0; row < size; ++row)
        for (std::uint64_t column = row + 1; column < size; ++column)
            matrix[row * size + column] = std::numeric_limits<float>::quiet_NaN();
    const DeviceArray<float> placed(device, matrix);
    const DeviceArray<float> vectors(device, std::vector<float>(count * size));
    Found found{{}, std::vector<double>(size)};
    const speft_find_eigenvectors arguments{.matrix = placed.data(),
                                            .size = size,
                                            .count = count,
                                            .vectors = vectors.data(),
                                            .values = found.values.data()};
    if (!device.run(subject, &arguments)) return {};
    found.vectors = vectors.read();
    return found;
}

// Σ over `rank` vectors of numbers with themselves: that rank, and symmetric to the bit.
std::vector<float> make_symmetric(std::uint64_t size, std::uint64_t rank, std::uint32_t seed) {
    const std::vector<float> lines = make_values(rank * size, Values::ordinary, seed);
    std::vector<float> matrix(size * size);
    for (std::uint64_t i = 0; i < size; ++i)
        for (std::uint64_t j = 0; j <= i; ++j) {
            double sum = 0;
            for (std::uint64_t q = 0; q < rank; ++q)
                sum += static_cast<double>(lines[q * size + i]) * lines[q * size + j];
            matrix[i * size + j] = matrix[j * size + i] = static_cast<float>(sum);
        }
    return matrix;
}

double dot(const float *a, const float *b, std::uint64_t size) {
    return std::inner_product(a, a + size, b, 0.0, std::plus<>(),
                              [](double x, double y) { return x * y; });
}

double norm(const std::vector<float> &matrix) { return std::sqrt(dot(matrix.data(), matrix.data(), matrix.size())); }

// The definition. An entry of a vector is rounded once, by 2⁻²⁴ of at most 1: a vector is off by at most √n times that.
void check_eigenvectors(const std::vector<float> &matrix, std::uint64_t size, std::uint64_t count, const Found &found) {
    const double rounding = 2 * std::sqrt(static_cast<double>(size)) * 0x1p-24;
    for (std::uint64_t i = 0; i < count; ++i) {
        const float *const vector = found.vectors.data() + i * size;
        for (std::uint64_t j = 0; j <= i; ++j)
            BOOST_REQUIRE_LE(std::fabs(dot(vector, found.vectors.data() + j * size, size) - (i == j)), rounding);
        double squares = 0;  // of A v − λ v
        for (std::uint64_t row = 0; row < size; ++row) {
            const double left = dot(matrix.data() + row * size, vector, size) - found.values[i] * vector[row];
            squares += left * left;
        }
        BOOST_REQUIRE_LE(std::sqrt(squares), rounding * norm(matrix));
        const float *const largest =
            std::max_element(vector, vector + size, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
        BOOST_REQUIRE_GT(*largest, 0);
    }
    BOOST_REQUIRE(std::is_sorted(found.values.rbegin(), found.values.rend()));
    // All of them, also those whose vectors are not asked for.
    double trace = 0;
    for (std::uint64_t i = 0; i < size; ++i) trace += matrix[i * size + i];
    const double sum = std::accumulate(found.values.begin(), found.values.end(), 0.0);
    BOOST_REQUIRE_LE(std::fabs(sum - trace), rounding * norm(matrix));
}

const std::vector<int> sizes = {1, 2, 3, 8, 17, 64, 100};

}  // namespace

BOOST_AUTO_TEST_SUITE(find_eigenvectors)

BOOST_DATA_TEST_CASE(meets_the_definition,
                     data::make(subjects(SPEFT_OPERATION_FIND_EIGENVECTORS)) * data::make(sizes), subject, length) {
    const auto size = static_cast<std::uint64_t>(length);
    const std::vector<float> matrix = make_symmetric(size, size + 3, 1);
    for (const std::uint64_t count : {size, (size + 1) / 2, std::uint64_t{1}}) {
        const auto found = run(subject, one_thread, matrix, size, count);
        if (found) check_eigenvectors(matrix, size, count, *found);
    }
}

// Directions that the matrix knows nothing of complete the basis.
BOOST_DATA_TEST_CASE(completes_the_basis_of_a_matrix_of_low_rank,
                     data::make(subjects(SPEFT_OPERATION_FIND_EIGENVECTORS)) * data::make({8, 64}), subject, length) {
    const auto size = static_cast<std::uint64_t>(length);
    const std::vector<float> matrix = make_symmetric(size, 3, 2);
    const auto found = run(subject, one_thread, matrix, size, size);
    if (!found) return;
    check_eigenvectors(matrix, size, size, *found);
    BOOST_TEST(found->values[2] > 1e-3 * found->values[0]);
    BOOST_TEST(std::fabs(found->values[3]) < static_cast<double>(size) * 0x1p-23 * found->values[0]);
}

BOOST_DATA_TEST_CASE(takes_equal_eigenvalues, data::make(subjects(SPEFT_OPERATION_FIND_EIGENVECTORS)), subject) {
    const std::uint64_t size = 20;
    std::vector<float> identity(size * size), zeros(size * size);
    for (std::uint64_t i = 0; i < size; ++i) identity[i * size + i] = 1;
    for (const std::vector<float> &matrix : {identity, zeros}) {
        const auto found = run(subject, one_thread, matrix, size, size);
        if (found) check_eigenvectors(matrix, size, size, *found);
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_FIND_EIGENVECTORS)) * data::make(other_settings), subject,
                     settings) {
    const std::uint64_t size = 70;
    const std::vector<float> matrix = make_symmetric(size, size, 3);
    const auto expected = run(subject, one_thread, matrix, size, 9);
    const auto actual = run(subject, settings, matrix, size, 9);
    if (!expected) return;
    check_same(actual->vectors, expected->vectors);
    BOOST_TEST(actual->values == expected->values, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
