// Sums of squares over examples and over tokens.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// By the tokens of each example.
struct Shape {
    std::uint64_t in, out;
    std::vector<std::uint64_t> examples;
    friend std::ostream &operator<<(std::ostream &stream, const Shape &shape) {
        stream << shape.in << " to " << shape.out << ", examples of";
        for (const std::uint64_t tokens : shape.examples) stream << ' ' << tokens;
        return stream;
    }
};

// Around the widths of vectors, strips and tiles, and the blocks of tokens.
const std::vector<Shape> shapes = {
    {0, 3, {2, 1}},       {3, 0, {2}},       {5, 3, {}},
    {5, 3, {0, 0}},       {1, 1, {1}},       {5, 3, {0, 1, 0, 2}},
    {16, 8, {1, 1, 1}},   {49, 17, {17, 0, 16, 1}}, {191, 9, {3, 4}},
    {193, 48, {2, 31}},   {8, 194, {7, 33}}, {30, 20, {256, 600, 1}},
    {20, 30, {513, 257, 512}}};
// Whole vectors in a row, where rows are aligned at all.
const Shape several_tiles = {400, 208, {5, 0, 1, 40, 300}};

struct Case {
    Shape shape;
    std::int32_t layout;
    Tensor x, dy;
    float scale, weight;
    std::vector<std::int64_t> offsets{0};
    std::vector<float> sums;

    Case(Shape of, std::int32_t in_layout, Tensor of_x, Tensor of_dy, float by, float weighed)
        : shape(std::move(of)), layout(in_layout), x(std::move(of_x)), dy(std::move(of_dy)), scale(by),
          weight(weighed), sums(make_values(shape.in * shape.out, Values::few, 6)) {
        for (const std::uint64_t tokens : shape.examples)
            offsets.push_back(offsets.back() + static_cast<std::int64_t>(tokens));
    }
};

std::uint64_t count_tokens(const Shape &shape) {
    std::uint64_t tokens = 0;
    for (const std::uint64_t some : shape.examples) tokens += some;
    return tokens;
}

// The inner sums are exact.
Case make_exact_case(const Shape &shape, std::int32_t layout, std::int32_t x_type, std::int32_t dy_type) {
    const std::uint64_t tokens = count_tokens(shape);
    return {shape, layout, make_exact(x_type, tokens * shape.in, 0, 1), make_exact(dy_type, tokens * shape.out, -2, 2),
            0.5f, 0.3f};
}

Case make_ordinary_case(const Shape &shape, std::int32_t layout, std::int32_t type) {
    const std::uint64_t tokens = count_tokens(shape);
    return {shape, layout, make_ordinary(type, tokens * shape.in, 1), make_ordinary(type, tokens * shape.out, 2), 1.7f,
            0.3f};
}

std::optional<std::vector<float>> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceArray<float> sums(device, test.sums);
    const DeviceTensor x(device, test.x), dy(device, test.dy);
    const speft_add_example_squares arguments = {.sums = sums.data(),
                                                 .x = x.data(),
                                                 .dy = dy.data(),
                                                 .offsets = test.offsets.data(),
                                                 .examples = test.shape.examples.size(),
                                                 .tokens = count_tokens(test.shape),
                                                 .in = test.shape.in,
                                                 .out = test.shape.out,
                                                 .x_type = test.x.type(),
                                                 .dy_type = test.dy.type(),
                                                 .layout = test.layout,
                                                 .scale = test.scale,
                                                 .weight = test.weight,
                                                 .reserved = 0};
    if (!device.run(subject, &arguments)) return {};
    return sums.read();
}

// body(j, sums) with the inner sum of every example at each scalar.
template <class Body>
void for_each_scalar(const Case &test, Body &&body) {
    const std::vector<double> x = values_of(test.x), dy = values_of(test.dy);
    const std::uint64_t in = test.shape.in, out = test.shape.out;
    for (std::uint64_t r = 0; r < out; ++r)
        for (std::uint64_t c = 0; c < in; ++c) {
            std::vector<ProductSum> sums(test.shape.examples.size());
            for (std::uint64_t example = 0; example < sums.size(); ++example)
                for (std::int64_t t = test.offsets[example]; t < test.offsets[example + 1]; ++t)
                    sums[example].add(dy[static_cast<std::uint64_t>(t) * out + r] *
                                      x[static_cast<std::uint64_t>(t) * in + c]);
            body(test.layout == SPEFT_LAYOUT_OUT_IN ? r * in + c : c * out + r, sums);
        }
}

void check_exactly(const std::vector<float> &actual, const Case &test) {
    std::vector<float> expected = test.sums;
    for_each_scalar(test, [&](std::uint64_t j, const std::vector<ProductSum> &examples) {
        for (const ProductSum &example : examples) {
            const float gradient = rounded(test.scale * static_cast<float>(example.value));
            expected[j] = rounded(expected[j] + rounded(test.weight * rounded(gradient * gradient)));
        }
    });
    check_same(actual, expected);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(add_example_squares)

BOOST_DATA_TEST_CASE(rounds_as_defined_where_products_are_exact,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(shapes) *
                         data::make(weight_layouts) * data::make(product_types),
                     subject, shape, layout, type) {
    const Case test = make_exact_case(shape, layout, type, type);
    if (const auto sums = run(subject, one_thread, test)) check_exactly(*sums, test);
}

BOOST_DATA_TEST_CASE(rounds_as_defined_in_several_tiles,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(product_types), subject,
                     type) {
    const Case test = make_exact_case(several_tiles, SPEFT_LAYOUT_IN_OUT, type, type);
    if (const auto sums = run(subject, one_thread, test)) check_exactly(*sums, test);
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(scalar_types) *
                         data::make(scalar_types),
                     subject, x_type, dy_type) {
    const Case test = make_exact_case(shapes[7], SPEFT_LAYOUT_OUT_IN, x_type, dy_type);
    if (const auto sums = run(subject, one_thread, test)) check_exactly(*sums, test);
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(shapes) *
                         data::make(product_types),
                     subject, shape, type) {
    const Case test = make_ordinary_case(shape, SPEFT_LAYOUT_OUT_IN, type);
    const auto sums = run(subject, one_thread, test);
    if (!sums) return;
    for_each_scalar(test, [&](std::uint64_t j, const std::vector<ProductSum> &examples) {
        double expected = test.sums[j], magnitude = std::fabs(expected), tolerance = 0;
        for (std::uint64_t example = 0; example < examples.size(); ++example) {
            const double gradient = test.scale * examples[example].value;
            // A product is rounded as such, in at most one addition a token, and with the scale.
            const double error = (static_cast<double>(shape.examples[example]) + 2.0) * 0x1p-24 * test.scale *
                                 examples[example].magnitude;
            tolerance += test.weight * (2 * std::fabs(gradient) + error) * error;
            expected += test.weight * gradient * gradient;
            magnitude += test.weight * gradient * gradient;
        }
        // A square is rounded as such, with the weight, and in as many additions as examples are left.
        tolerance += (static_cast<double>(examples.size()) + 2.0) * 0x1p-24 * (magnitude + tolerance);
        if (!(std::fabs((*sums)[j] - expected) <= tolerance))
            BOOST_FAIL("sum " << j << " is " << (*sums)[j] << ", expected " << expected);
    });
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(other_settings) *
                         data::make(product_types),
                     subject, settings, type) {
    const Case test = make_ordinary_case(several_tiles, SPEFT_LAYOUT_IN_OUT, type);
    const auto expected = run(subject, one_thread, test), actual = run(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_DATA_TEST_CASE(keeps_denormals,
                     data::make(subjects(SPEFT_OPERATION_ADD_EXAMPLE_SQUARES)) * data::make(other_settings), subject,
                     settings) {
    const Shape shape = {49, 17, {17, 0, 16, 1}};
    const std::uint64_t tokens = count_tokens(shape);
    Case test = {shape, SPEFT_LAYOUT_OUT_IN, make_exact(SPEFT_SCALAR_FLOAT32, tokens * shape.in, -37, 1),
                 make_exact(SPEFT_SCALAR_FLOAT32, tokens * shape.out, -35, 2), 1.0f, 0.5f};
    std::fill(test.sums.begin(), test.sums.end(), 0.0f);
    if (const auto sums = run(subject, settings, test)) check_exactly(*sums, test);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct ColumnsShape {
    std::uint64_t tokens, columns;
    friend std::ostream &operator<<(std::ostream &stream, const ColumnsShape &shape) {
        return stream << shape.tokens << " tokens of " << shape.columns;
    }
};

const std::vector<ColumnsShape> column_shapes = {{0, 0},  {0, 5},     {3, 0},     {1, 1},
                                                 {2, 17}, {257, 255}, {600, 257}, {1030, 3}};

struct ColumnsCase {
    ColumnsShape shape;
    Tensor x;
    float weight;
    std::vector<float> sums;
};

ColumnsCase make_columns(ColumnsShape shape, std::int32_t type) {
    return {shape, make_ordinary(type, shape.tokens * shape.columns, 1), 0.3f,
            make_values(shape.columns, Values::few, 2)};
}

std::optional<std::vector<float>> run_columns(const Subject &subject, const Settings &settings,
                                              const ColumnsCase &test) {
    Device device(*subject.table, settings);
    const DeviceArray<float> sums(device, test.sums);
    const DeviceTensor x(device, test.x);
    const speft_add_column_squares arguments = {.sums = sums.data(),
                                                .x = x.data(),
                                                .tokens = test.shape.tokens,
                                                .columns = test.shape.columns,
                                                .x_type = test.x.type(),
                                                .weight = test.weight};
    if (!device.run(subject, &arguments)) return {};
    return sums.read();
}

double compute_column(const ColumnsCase &test, std::uint64_t column) {
    double sum = 0;
    for (std::uint64_t t = 0; t < test.shape.tokens; ++t) {
        const double value = test.x.get(t * test.shape.columns + column);
        sum += value * value;
    }
    return sum;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(add_column_squares)

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_ADD_COLUMN_SQUARES)) * data::make(column_shapes) *
                         data::make(scalar_types),
                     subject, shape, type) {
    const ColumnsCase test = make_columns(shape, type);
    const auto sums = run_columns(subject, one_thread, test);
    if (!sums) return;
    // A square is rounded as such, in at most one addition a token, and with the weight; the total where it is added.
    const double tolerance = (static_cast<double>(shape.tokens) + 3.0) * 0x1p-24;
    for (std::uint64_t c = 0; c < shape.columns; ++c) {
        const double added = test.weight * compute_column(test, c), expected = test.sums[c] + added;
        if (!(std::fabs((*sums)[c] - expected) <= tolerance * (std::fabs(test.sums[c]) + added)))
            BOOST_FAIL("sum " << c << " is " << (*sums)[c] << ", expected " << expected);
    }
}

BOOST_DATA_TEST_CASE(is_exact_where_float32_is,
                     data::make(subjects(SPEFT_OPERATION_ADD_COLUMN_SQUARES)) * data::make(column_shapes) *
                         data::make(scalar_types),
                     subject, shape, type) {
    const ColumnsCase test = {shape, make_exact(type, shape.tokens * shape.columns, -1, 1), 0.5f,
                              make_values(shape.columns, Values::few, 2)};
    const auto sums = run_columns(subject, one_thread, test);
    if (!sums) return;
    std::vector<float> expected = test.sums;
    for (std::uint64_t c = 0; c < shape.columns; ++c)
        expected[c] += static_cast<float>(0.5 * compute_column(test, c));
    check_same(*sums, expected);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_ADD_COLUMN_SQUARES)) * data::make(other_settings) *
                         data::make(scalar_types),
                     subject, settings, type) {
    ColumnsCase test = make_columns({600, 1030}, type);
    test.x.set(3, std::numeric_limits<float>::infinity());
    test.x.set(2000, std::numeric_limits<float>::quiet_NaN());
    const auto expected = run_columns(subject, one_thread, test), actual = run_columns(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
