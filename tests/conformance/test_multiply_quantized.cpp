#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/products.h"
#include "tests/conformance/quantized.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// Of a's rows and of the quantized weight.
struct Shape {
    std::uint64_t rows, b_rows, b_columns;
    friend std::ostream &operator<<(std::ostream &out, const Shape &shape) {
        return out << shape.rows << " rows, " << shape.b_rows << " × " << shape.b_columns;
    }
};

// Around the widths of vectors and tiles, few rows and many; rows of the weight that begin and end inside of blocks,
// inside of bytes, and at the ends of blocks; the last ones take several blocks of each cut.
const std::vector<Shape> shapes = {{1, 1, 1},    {1, 5, 3},     {1, 37, 129},  {1, 64, 128},  {2, 3, 65},
                                   {3, 17, 64},  {4, 49, 130},  {5, 1, 300},   {7, 300, 1},   {8, 48, 256},
                                   {9, 65, 63},  {16, 33, 192}, {17, 40, 97},  {33, 64, 64},  {65, 70, 40},
                                   {2, 530, 70}, {70, 300, 66}, {6, 20, 1700}, {40, 1600, 9}, {33, 7, 1601},
                                   {3, 70, 640}, {13, 7, 1152}, {16, 2, 8320}, {1, 35, 4224},
                                   {17, 50, 256}, {64, 33, 128}};
const std::vector<Shape> empty_shapes = {{3, 0, 4}, {0, 5, 4}, {3, 5, 0}, {0, 0, 0}};

// Of which every weight is a multiple of 2^-5, where the scales are of 1/4.
const Codes exact_codes = {"eighths", SPEFT_CODING_LEVELS4, 64,
                           {-1, -0.875f, -0.75f, -0.625f, -0.5f, -0.375f, -0.25f, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f,
                            0.75f, 0.875f, 0, 1}};

struct Case {
    Shape shape;
    bool transposed, accumulate;
    float scale;
    QuantizedWeight b;
    std::vector<std::uint32_t> indices;
    Tensor a, values, target;

    std::uint64_t a_columns() const { return transposed ? shape.b_columns : shape.b_rows; }
    std::uint64_t target_columns() const { return transposed ? shape.b_rows : shape.b_columns; }
};

// Values are added to one of so many scalars of the weight, its first and its last among them; or to none.
constexpr std::uint32_t no_entry = 0;
const auto strides = data::make({no_entry, 1u, 7u, 300u});

Case make_shape(Shape shape, bool transposed, bool accumulate, std::uint32_t stride, const QuantizedWeight &b,
                std::int32_t target_type) {
    const std::uint64_t size = shape.rows * (transposed ? shape.b_rows : shape.b_columns);
    // What is there already must not be looked at where nothing is added to it.
    const std::vector<float> unread(size, std::numeric_limits<float>::quiet_NaN());
    return {shape,
            transposed,
            accumulate,
            0.5f,
            b,
            stride == no_entry ? std::vector<std::uint32_t>{} : make_mask(b.count, stride, 5),
            Tensor(SPEFT_SCALAR_FLOAT32, 0),
            Tensor(SPEFT_SCALAR_FLOAT32, 0),
            Tensor(target_type, accumulate ? make_values(size, Values::few, 9) : unread)};
}

Case make_exact_case(Shape shape, bool transposed, bool accumulate, std::uint32_t stride,
                     std::int32_t a_type = SPEFT_SCALAR_FLOAT32, std::int32_t values_type = SPEFT_SCALAR_FLOAT32,
                     std::int32_t target_type = SPEFT_SCALAR_FLOAT32) {
    Case test = make_shape(shape, transposed, accumulate, stride,
                           make_quantized(exact_codes, shape.b_rows * shape.b_columns, 0, Values::few), target_type);
    test.a = make_exact(a_type, shape.rows * test.a_columns(), 0, 1);
    test.values = make_exact(values_type, test.indices.size(), -3, 2);
    return test;
}

Case make_ordinary_case(Shape shape, bool transposed, const Codes &as, std::uint64_t absmax_block, std::int32_t type,
                        std::int32_t values_type, std::int32_t target_type) {
    Case test = make_shape(shape, transposed, true, 9,
                           make_quantized(as, shape.b_rows * shape.b_columns, absmax_block, Values::ordinary),
                           target_type);
    test.scale = 0.3f;
    test.a = make_ordinary(type, shape.rows * test.a_columns(), 1);
    test.values = make_ordinary(values_type, test.indices.size(), 2);
    return test;
}

std::optional<Tensor> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceTensor a(device, test.a), values(device, test.values), target(device, test.target);
    const DeviceQuantized quantized(device, test.b);
    const DeviceArray<std::uint32_t> indices(device, test.indices);
    const speft_multiply_quantized arguments = {.a = a.data(),
                                                .target = target.data(),
                                                .quantized = quantized.blocks(),
                                                .indices = indices.data(),
                                                .values = values.data(),
                                                .count = test.indices.size(),
                                                .rows = test.shape.rows,
                                                .b_rows = test.shape.b_rows,
                                                .b_columns = test.shape.b_columns,
                                                .a_type = test.a.type(),
                                                .target_type = test.target.type(),
                                                .values_type = test.values.type(),
                                                .transposed = test.transposed,
                                                .accumulate = test.accumulate,
                                                .scale = test.scale};
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((a.read() == test.a));
    BOOST_TEST((values.read() == test.values));
    quantized.check_unchanged();
    return target.read();
}

// In float64, but for b, whose float32 values are given. Its two parts may be multiplied apart, so that both magnitudes
// scale the error.
std::vector<ProductSum> compute_truth(const Case &test) {
    const std::vector<double> a = values_of(test.a);
    std::vector<float> b(test.b.count);
    for (std::uint64_t j = 0; j < b.size(); ++j) b[j] = test.b.weight(j);
    std::vector<float> magnitudes(b.size());
    for (std::uint64_t j = 0; j < b.size(); ++j) magnitudes[j] = std::fabs(b[j]);
    for (std::uint64_t j = 0; j < test.indices.size(); ++j) {
        const std::uint32_t index = test.indices[j];
        b[index] = rounded(b[index] + test.values.get(j));
        magnitudes[index] += std::fabs(test.values.get(j));
    }
    const std::uint64_t terms = test.a_columns();
    std::vector<ProductSum> target;
    for (std::uint64_t i = 0; i < test.shape.rows; ++i)
        for (std::uint64_t j = 0; j < test.target_columns(); ++j) {
            ProductSum sum;
            for (std::uint64_t q = 0; q < terms; ++q) {
                const std::uint64_t of_b = test.transposed ? j * terms + q : q * test.shape.b_columns + j;
                sum.value += a[i * terms + q] * static_cast<double>(b[of_b]);
                sum.magnitude += std::fabs(a[i * terms + q]) * static_cast<double>(magnitudes[of_b]);
            }
            target.push_back(apply(sum, test.scale, test.accumulate ? test.target.get(target.size()) : 0));
        }
    return target;
}

// A sum and a rounding more: that of the values that are added to b, and b's own.
void check_near_truth(const Case &test, const std::optional<Tensor> &target) {
    if (target) check_near(*target, compute_truth(test), test.a_columns() + 1);
}

const auto implementations = data::make(subjects(SPEFT_OPERATION_MULTIPLY_QUANTIZED));
const auto no_or_yes = data::make({false, true});
const auto absmax_blocks = data::make({0, 4, 256});  // 0: the scales are not quantized

}  // namespace

BOOST_AUTO_TEST_SUITE(multiply_quantized)

BOOST_DATA_TEST_CASE(is_exact_where_float32_is, implementations * data::make(shapes) * no_or_yes * no_or_yes * strides,
                     subject, shape, transposed, accumulate, stride) {
    const Case test = make_exact_case(shape, transposed, accumulate, stride);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     implementations * data::make({2u, 51u}) * data::make(scalar_types) * data::make(product_types) *
                         data::make(scalar_types) * no_or_yes * no_or_yes,
                     subject, rows, a_type, values_type, target_type, transposed, accumulate) {
    const Case test = make_exact_case({rows, 70, 67}, transposed, accumulate, 5, a_type, values_type, target_type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(is_the_base_where_nothing_is_summed,
                     implementations * data::make(empty_shapes) * no_or_yes * no_or_yes * data::make(scalar_types),
                     subject, shape, transposed, accumulate, type) {
    const Case test = make_exact_case(shape, transposed, accumulate, no_entry, type, SPEFT_SCALAR_FLOAT32, type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(reads_every_coding,
                     implementations * data::make(shapes) * no_or_yes * data::make(codings_of_weights) * absmax_blocks,
                     subject, shape, transposed, as, absmax_block) {
    const Case test = make_ordinary_case(shape, transposed, as, static_cast<std::uint64_t>(absmax_block),
                                         SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32);
    check_near_truth(test, run(subject, one_thread, test));
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     implementations * data::make(shapes) * no_or_yes * data::make(product_types) *
                         data::make(product_types) * data::make(scalar_types),
                     subject, shape, transposed, type, values_type, target_type) {
    const Case test = make_ordinary_case(shape, transposed, codings_of_weights[0], 256, type, values_type, target_type);
    check_near_truth(test, run(subject, one_thread, test));
}

// More blocks than one of a sum that a target of 16 bits could not hold in between.
BOOST_DATA_TEST_CASE(rounds_long_sums_once,
                     implementations * data::make({3u, 20u}) * data::make(scalar_types) * no_or_yes * no_or_yes,
                     subject, rows, target_type, transposed, accumulate) {
    const Shape shape = transposed ? Shape{rows, 50, 2100} : Shape{rows, 2100, 50};
    const Case test = make_exact_case(shape, transposed, accumulate, 11, SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32,
                                      target_type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

// A value is lost in a sum of two that is rounded to the type of `a`, or to any of 16 bits.
BOOST_DATA_TEST_CASE(keeps_values_beside_large_weights,
                     implementations * data::make({1u, 40u}) * data::make(scalar_types) * no_or_yes, subject, rows,
                     a_type, transposed) {
    Case test = make_exact_case({rows, 90, 70}, transposed, false, 1, a_type);
    for (float &absmax : test.b.absmax) absmax = 1;
    test.values = Tensor(SPEFT_SCALAR_FLOAT32, std::vector<float>(test.indices.size(), 0x1p-13f));
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

// float64 knows which sums they reach: no padding and no other row's or column's. Which of those become infinite and
// which a NaN depends on what is summed first.
BOOST_DATA_TEST_CASE(confines_what_is_not_finite,
                     implementations * data::make(shapes) * no_or_yes * data::make({0, 1, 2}) *
                         data::make({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}),
                     subject, shape, transposed, where, value) {
    Case test = make_exact_case(shape, transposed, false, 7);
    if (where == 0) test.a.set(test.a.size() / 2, value), test.a.set(test.a.size() - 1, value);
    if (where == 1) test.values.set(test.values.size() / 2, value);
    if (where == 2) test.b.absmax.back() = test.b.absmax[test.b.absmax.size() / 2] = value;
    auto target = run(subject, one_thread, test);
    if (!target) return;
    std::vector<ProductSum> truth = compute_truth(test);
    for (std::uint64_t i = 0; i < truth.size(); ++i)
        if (!std::isfinite(truth[i].value)) {
            BOOST_REQUIRE(!std::isfinite(target->get(i)));
            target->set(i, 0);
            truth[i].value = 0;
        }
    check_exact(*target, truth);
}

BOOST_DATA_TEST_CASE(keeps_denormals,
                     implementations * data::make(other_settings) * data::make({1u, 9u, 50u}) * no_or_yes, subject,
                     settings, rows, transposed) {
    Case test = make_exact_case({rows, 90, 70}, transposed, false, 4);
    test.a = make_exact(SPEFT_SCALAR_FLOAT32, test.a.size(), -75, 1);
    test.values = make_exact(SPEFT_SCALAR_FLOAT32, test.values.size(), -73, 2);
    for (float &absmax : test.b.absmax) absmax = std::ldexp(absmax, -67);
    test.scale = 1;
    if (const auto target = run(subject, settings, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     implementations * data::make(other_settings) * data::make({1u, 4u, 16u, 190u}) * no_or_yes *
                         data::make(product_types) * data::make(scalar_types),
                     subject, settings, rows, transposed, type, target_type) {
    const Case test = make_ordinary_case({rows, 330, 330}, transposed, codings_of_weights[0], 16, type,
                                         SPEFT_SCALAR_FLOAT32, target_type);
    const auto expected = run(subject, one_thread, test), actual = run(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
