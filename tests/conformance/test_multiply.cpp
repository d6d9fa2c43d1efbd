#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Shape {
    std::uint64_t rows, inner, columns;
    friend std::ostream &operator<<(std::ostream &out, const Shape &shape) {
        return out << shape.rows << " × " << shape.inner << " × " << shape.columns;
    }
};

// Around the widths of vectors and tiles and the lengths of blocks; the last ones take several of each.
const std::vector<Shape> shapes = {{1, 1, 1},    {3, 1, 5},    {8, 2, 16},    {9, 15, 17},  {48, 16, 49},
                                   {65, 64, 63}, {1, 300, 70}, {70, 300, 1},  {33, 7, 255}, {63, 257, 6},
                                   {13, 64, 97}, {34, 600, 66}, {200, 513, 3}, {2, 130, 900}};
const std::vector<Shape> empty_shapes = {{3, 0, 4}, {0, 5, 4}, {3, 5, 0}, {0, 0, 0}};

struct Case {
    Shape shape;
    bool transposed, accumulate;
    float scale;
    Tensor a, b, target;
};

std::uint64_t size_of_a(const Shape &shape) { return shape.rows * shape.inner; }
std::uint64_t size_of_b(const Shape &shape) { return shape.inner * shape.columns; }

// What is there already must not be looked at where nothing is added to it.
Tensor make_target(std::int32_t type, std::uint64_t count, bool accumulate) {
    if (accumulate) return Tensor(type, make_values(count, Values::few, 9));
    return Tensor(type, std::vector<float>(count, std::numeric_limits<float>::quiet_NaN()));
}

std::optional<Tensor> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceTensor a(device, test.a), b(device, test.b), target(device, test.target);
    const speft_multiply arguments = {.a = a.data(),
                                      .b = b.data(),
                                      .target = target.data(),
                                      .rows = test.shape.rows,
                                      .inner = test.shape.inner,
                                      .columns = test.shape.columns,
                                      .a_type = test.a.type(),
                                      .b_type = test.b.type(),
                                      .target_type = test.target.type(),
                                      .b_transposed = test.transposed,
                                      .accumulate = test.accumulate,
                                      .scale = test.scale};
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((a.read() == test.a));
    BOOST_TEST((b.read() == test.b));
    return target.read();
}

// In float64, entry by entry.
std::vector<ProductSum> compute_truth(const Case &test) {
    const auto [rows, inner, columns] = test.shape;
    const std::vector<double> a = values_of(test.a), b = values_of(test.b);
    std::vector<ProductSum> target;
    for (std::uint64_t i = 0; i < rows; ++i)
        for (std::uint64_t j = 0; j < columns; ++j) {
            ProductSum sum;
            for (std::uint64_t q = 0; q < inner; ++q)
                sum.add(a[i * inner + q] * b[test.transposed ? j * inner + q : q * columns + j]);
            target.push_back(apply(sum, test.scale, test.accumulate ? test.target.get(i * columns + j) : 0));
        }
    return target;
}

Case make_exact_case(Shape shape, bool transposed, bool accumulate, std::int32_t a_type, std::int32_t b_type,
                     std::int32_t target_type) {
    return {shape,
            transposed,
            accumulate,
            0.5f,
            make_exact(a_type, size_of_a(shape), 0, 1),
            make_exact(b_type, size_of_b(shape), -2, 2),
            make_target(target_type, shape.rows * shape.columns, accumulate)};
}

Case make_ordinary_case(Shape shape, bool transposed, bool accumulate, std::int32_t type, std::int32_t target_type) {
    return {shape,
            transposed,
            accumulate,
            0.3f,
            make_ordinary(type, size_of_a(shape), 1),
            make_ordinary(type, size_of_b(shape), 2),
            make_target(target_type, shape.rows * shape.columns, accumulate)};
}

const auto implementations = data::make(subjects(SPEFT_OPERATION_MULTIPLY));
const auto no_or_yes = data::make({false, true});

}  // namespace

BOOST_AUTO_TEST_SUITE(multiply)

BOOST_DATA_TEST_CASE(is_exact_where_float32_is,
                     implementations * data::make(shapes) * no_or_yes * no_or_yes * data::make(product_types), subject,
                     shape, transposed, accumulate, type) {
    const Case test = make_exact_case(shape, transposed, accumulate, type, type, SPEFT_SCALAR_FLOAT32);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     implementations * data::make(scalar_types) * data::make(scalar_types) * data::make(scalar_types) *
                         no_or_yes * no_or_yes,
                     subject, a_type, b_type, target_type, transposed, accumulate) {
    const Case test = make_exact_case({51, 70, 67}, transposed, accumulate, a_type, b_type, target_type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(is_the_base_where_nothing_is_summed,
                     implementations * data::make(empty_shapes) * no_or_yes * no_or_yes * data::make(scalar_types),
                     subject, shape, transposed, accumulate, type) {
    const Case test = make_exact_case(shape, transposed, accumulate, type, type, type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     implementations * data::make(shapes) * no_or_yes * no_or_yes * data::make(product_types), subject,
                     shape, transposed, accumulate, type) {
    const Case test = make_ordinary_case(shape, transposed, accumulate, type, SPEFT_SCALAR_FLOAT32);
    if (const auto target = run(subject, one_thread, test)) check_near(*target, compute_truth(test), shape.inner);
}

// More blocks than one of a sum that a target of 16 bits could not hold in between.
BOOST_DATA_TEST_CASE(rounds_long_sums_once, implementations * data::make(scalar_types) * no_or_yes * no_or_yes, subject,
                     target_type, transposed, accumulate) {
    const Shape shape = {20, 2100, 50};
    const Case test = make_exact_case(shape, transposed, accumulate, SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32,
                                      target_type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(keeps_denormals, implementations * data::make(other_settings) * no_or_yes, subject, settings,
                     transposed) {
    Case test = make_exact_case({50, 300, 70}, transposed, false, SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32,
                                SPEFT_SCALAR_FLOAT32);
    test.a = make_exact(SPEFT_SCALAR_FLOAT32, test.a.size(), -75, 1);
    test.b = make_exact(SPEFT_SCALAR_FLOAT32, test.b.size(), -72, 2);
    test.scale = 1;
    if (const auto target = run(subject, settings, test)) check_exact(*target, compute_truth(test));
}

// What is padded inside an implementation must not meet an infinity outside, and two bfloat16 that are taken at once
// make a NaN where an infinity stands above anything but zero.
BOOST_DATA_TEST_CASE(confines_infinities,
                     implementations * data::make(shapes) * no_or_yes * no_or_yes * data::make(product_types), subject,
                     shape, transposed, in_b, type) {
    Case test = make_exact_case(shape, transposed, false, type, type, SPEFT_SCALAR_FLOAT32);
    Tensor &factor = in_b ? test.b : test.a;
    factor.set(factor.size() - 1, std::numeric_limits<float>::infinity());
    factor.set(factor.size() / 2, -std::numeric_limits<float>::infinity());
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     implementations * data::make(other_settings) * no_or_yes * data::make(product_types) *
                         data::make(scalar_types),
                     subject, settings, transposed, type, target_type) {
    // Whole vectors in a row, where rows are aligned at all.
    const Case test = make_ordinary_case({190, 600, 232}, transposed, true, type, target_type);
    const auto expected = run(subject, one_thread, test), actual = run(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
