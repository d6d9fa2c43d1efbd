#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

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

std::uint64_t size_of(const Shape &shape, bool of_columns) { return of_columns ? shape.columns : shape.rows; }

constexpr float before = 0.5f;  // what is there already

// The sums on and below the diagonal, by rows; none where the implementation does not take the case.
std::optional<std::vector<float>> run(const Subject &subject, const Settings &settings, const Shape &shape,
                                      const Tensor &matrix, bool of_columns, float factor) {
    Device device(*subject.table, settings);
    const std::uint64_t size = size_of(shape, of_columns);
    const DeviceTensor placed(device, matrix);
    const DeviceArray<float> gram(device, std::vector<float>(size * size, before));
    const speft_add_gram arguments{.gram = gram.data(),
                                   .matrix = static_cast<const float *>(placed.data()),
                                   .rows = shape.rows,
                                   .columns = shape.columns,
                                   .of_columns = of_columns,
                                   .factor = factor};
    if (!device.run(subject, &arguments)) return {};
    const std::vector<float> all = gram.read();
    std::vector<float> lower;
    for (std::uint64_t i = 0; i < size; ++i)
        lower.insert(lower.end(), all.begin() + static_cast<std::ptrdiff_t>(i * size),
                     all.begin() + static_cast<std::ptrdiff_t>(i * size + i + 1));
    return lower;
}

// In float64, entry by entry.
std::vector<ProductSum> multiply(const Shape &shape, const std::vector<double> &matrix, bool of_columns) {
    const std::uint64_t size = size_of(shape, of_columns), terms = size_of(shape, !of_columns);
    const auto entry = [&](std::uint64_t line, std::uint64_t term) {
        return matrix[of_columns ? term * shape.columns + line : line * shape.columns + term];
    };
    std::vector<ProductSum> sums;
    for (std::uint64_t i = 0; i < size; ++i)
        for (std::uint64_t j = 0; j <= i; ++j) {
            ProductSum sum;
            for (std::uint64_t term = 0; term < terms; ++term) sum.add(entry(i, term) * entry(j, term));
            sums.push_back(sum);
        }
    return sums;
}

// Around the widths of tiles and bands, and of the blocks that are transposed.
const std::vector<Shape> shapes = {{1, 1},    {0, 5},     {5, 0},     {3, 17},    {17, 3},   {48, 8},
                                   {49, 257}, {193, 256}, {200, 300}, {385, 40}, {40, 385}};
const std::vector<bool> sides = {false, true};

}  // namespace

BOOST_AUTO_TEST_SUITE(add_gram)

BOOST_DATA_TEST_CASE(is_exact_where_float32_is,
                     data::make(subjects(SPEFT_OPERATION_ADD_GRAM)) * data::make(shapes) * data::make(sides), subject,
                     shape, of_columns) {
    const Tensor matrix = make_exact(SPEFT_SCALAR_FLOAT32, shape.rows * shape.columns, 0, 1);
    const auto actual = run(subject, one_thread, shape, matrix, of_columns, 2.0f);
    if (!actual) return;
    std::vector<float> expected;
    for (const ProductSum &sum : multiply(shape, values_of(matrix), of_columns))
        expected.push_back(static_cast<float>(before + 2 * sum.value));
    check_same(*actual, expected);
}

// Each term of a sum of n products may be rounded n times, and once more where it is added to what was there.
BOOST_DATA_TEST_CASE(matches_float64,
                     data::make(subjects(SPEFT_OPERATION_ADD_GRAM)) * data::make(shapes) * data::make(sides), subject,
                     shape, of_columns) {
    const Tensor matrix = make_ordinary(SPEFT_SCALAR_FLOAT32, shape.rows * shape.columns, 2);
    const auto actual = run(subject, one_thread, shape, matrix, of_columns, 0.3f);
    if (!actual) return;
    const std::vector<ProductSum> expected = multiply(shape, values_of(matrix), of_columns);
    const double roundings = static_cast<double>(size_of(shape, !of_columns)) + 2;
    BOOST_REQUIRE_EQUAL(actual->size(), expected.size());
    for (std::uint64_t i = 0; i < expected.size(); ++i) {
        const double wanted = before + static_cast<double>(0.3f) * expected[i].value;
        const double tolerance = roundings * 0x1p-24 * (before + expected[i].magnitude);
        BOOST_REQUIRE_LE(std::fabs((*actual)[i] - wanted), tolerance);
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_ADD_GRAM)) * data::make(other_settings) * data::make(sides),
                     subject, settings, of_columns) {
    const Shape shape = {200, 300};
    const Tensor matrix = make_ordinary(SPEFT_SCALAR_FLOAT32, shape.rows * shape.columns, 3);
    const auto expected = run(subject, one_thread, shape, matrix, of_columns, 1);
    const auto actual = run(subject, settings, shape, matrix, of_columns, 1);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
