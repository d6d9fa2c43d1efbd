#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Shape {
    std::uint64_t tokens, in, out;
    friend std::ostream &operator<<(std::ostream &stream, const Shape &shape) {
        return stream << shape.tokens << " tokens, " << shape.in << " to " << shape.out;
    }
};

// Around the widths of vectors and tiles, the strips of rows, and the slices and blocks of tokens; the last ones take
// several of each, and several panels of columns.
const std::vector<Shape> shapes = {{1, 1, 1},     {1, 5, 3},     {2, 16, 8},    {15, 17, 9},  {16, 48, 16},
                                   {17, 49, 65},  {64, 64, 64},  {63, 100, 1},  {65, 1, 100}, {255, 33, 7},
                                   {256, 63, 6},  {257, 65, 13}, {600, 66, 34}, {513, 900, 3}, {130, 2600, 2}};
const std::vector<Shape> empty_shapes = {{0, 3, 4}, {5, 0, 4}, {5, 3, 0}, {0, 0, 0}};

struct Case {
    Shape shape;
    std::int32_t layout;
    std::uint32_t stride;
    float scale;
    Tensor x, dy;
    std::vector<std::uint32_t> indices;  // of all scalars when there is no mask
    std::vector<float> sums;
    std::vector<double> x_values, dy_values;

    // The two factors' columns that meet in the j-th scalar.
    std::pair<std::uint64_t, std::uint64_t> locate(std::uint64_t j) const {
        const std::uint64_t index = indices[j];
        if (layout == SPEFT_LAYOUT_OUT_IN) return {index % shape.in, index / shape.in};
        return {index / shape.out, index % shape.out};
    }
};

// A mask of about one of `stride` scalars; `no_mask` for all of them, without indices.
constexpr std::uint32_t no_mask = 0;

Case make_case(Shape shape, std::int32_t layout, std::uint32_t stride, const Tensor &x, const Tensor &dy,
               float scale) {
    const std::vector<std::uint32_t> indices = make_mask(shape.in * shape.out, std::max(stride, 1u), 5);
    return {shape, layout, stride, scale, x, dy, indices, make_values(indices.size(), Values::few, 6), values_of(x),
            values_of(dy)};
}

std::optional<std::vector<float>> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceArray<float> sums(device, test.sums);
    const DeviceTensor x(device, test.x), dy(device, test.dy);
    const DeviceArray<std::uint32_t> indices(device, test.indices);
    const speft_add_product arguments = {.sums = sums.data(),
                                         .x = x.data(),
                                         .dy = dy.data(),
                                         .indices = test.stride == no_mask ? nullptr : indices.data(),
                                         .count = test.sums.size(),
                                         .tokens = test.shape.tokens,
                                         .in = test.shape.in,
                                         .out = test.shape.out,
                                         .x_type = test.x.type(),
                                         .dy_type = test.dy.type(),
                                         .layout = test.layout,
                                         .scale = test.scale};
    if (!device.run(subject, &arguments)) return {};
    return sums.read();
}

ProductSum compute_truth(const Case &test, std::uint64_t j) {
    const auto [column, row] = test.locate(j);
    const double *const dy = test.dy_values.data() + row, *const x = test.x_values.data() + column;
    ProductSum sum;
    for (std::uint64_t t = 0; t < test.shape.tokens; ++t) sum.add(dy[t * test.shape.out] * x[t * test.shape.in]);
    return {test.sums[j] + test.scale * sum.value, std::fabs(test.sums[j]) + std::fabs(test.scale) * sum.magnitude};
}

// `step` leaves out most of many.
void check_exact(const std::vector<float> &sums, const Case &test, std::uint64_t step = 1) {
    for (std::uint64_t j = 0; j < sums.size(); j += step) {
        const float expected = static_cast<float>(compute_truth(test, j).value);
        if (!same(sums[j], expected)) BOOST_FAIL("sum " << j << " is " << sums[j] << ", expected " << expected);
    }
}

const auto layouts = data::make(weight_layouts);
const auto strides = data::make({no_mask, 1u, 7u, 300u});
const auto masked_or_not = data::make({no_mask, 7u});

}  // namespace

BOOST_AUTO_TEST_SUITE(add_product)

BOOST_DATA_TEST_CASE(is_exact_where_float32_is,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(shapes) * layouts * strides *
                         data::make(product_types),
                     subject, shape, layout, stride, type) {
    const Tensor x = make_exact(type, shape.tokens * shape.in, 0, 1);
    const Tensor dy = make_exact(type, shape.tokens * shape.out, -2, 2);
    const Case test = make_case(shape, layout, stride, x, dy, 0.5f);
    if (const auto sums = run(subject, one_thread, test)) check_exact(*sums, test);
}

// So many that tokens are summed in fewer groups than there are slices.
BOOST_DATA_TEST_CASE(is_exact_at_many_scalars,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make({one_thread, other_settings[1]}) *
                         data::make(product_types),
                     subject, settings, type) {
    const Shape shape = {1100, 600, 610};
    const Tensor x = make_exact(type, shape.tokens * shape.in, 0, 1);
    const Tensor dy = make_exact(type, shape.tokens * shape.out, -2, 2);
    const Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, 1, x, dy, 1.0f);
    if (const auto sums = run(subject, settings, test)) check_exact(*sums, test, 211);
}

BOOST_DATA_TEST_CASE(adds_nothing_of_nothing,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(empty_shapes) * masked_or_not,
                     subject, shape, masked) {
    const Tensor x(SPEFT_SCALAR_FLOAT32, shape.tokens * shape.in);
    const Tensor dy(SPEFT_SCALAR_FLOAT32, shape.tokens * shape.out);
    const Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, masked, x, dy, 1.0f);
    if (const auto sums = run(subject, one_thread, test)) check_same(*sums, test.sums);
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(scalar_types) *
                         data::make(scalar_types) * masked_or_not,
                     subject, x_type, dy_type, masked) {
    const Shape shape = {70, 67, 51};
    const Tensor x = make_exact(x_type, shape.tokens * shape.in, 0, 1);
    const Tensor dy = make_exact(dy_type, shape.tokens * shape.out, -2, 2);
    const Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, masked, x, dy, 2.0f);
    if (const auto sums = run(subject, one_thread, test)) check_exact(*sums, test);
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(shapes) * masked_or_not *
                         data::make(product_types),
                     subject, shape, masked, type) {
    const Tensor x(type, make_values(shape.tokens * shape.in, Values::ordinary, 1));
    const Tensor dy(type, make_values(shape.tokens * shape.out, Values::ordinary, 2));
    const Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, masked, x, dy, 0.3f);
    const auto sums = run(subject, one_thread, test);
    if (!sums) return;
    // A term is rounded as a product, in at most `tokens` additions, and with the scale; the total is rounded where
    // it is added, at most once a token. Each rounding is half of 2^-23 of the magnitude so far.
    const double tolerance = (2.0 * static_cast<double>(shape.tokens) + 3.0) * 0x1p-24;
    for (std::uint64_t j = 0; j < sums->size(); ++j) {
        const ProductSum truth = compute_truth(test, j);
        if (!(std::fabs((*sums)[j] - truth.value) <= tolerance * truth.magnitude))
            BOOST_FAIL("sum " << j << " is " << (*sums)[j] << ", expected " << truth.value);
    }
}

BOOST_DATA_TEST_CASE(keeps_denormals,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(other_settings) * masked_or_not,
                     subject, settings, masked) {
    const Shape shape = {300, 70, 50};
    const Tensor x = make_exact(SPEFT_SCALAR_FLOAT32, shape.tokens * shape.in, -75, 1);
    const Tensor dy = make_exact(SPEFT_SCALAR_FLOAT32, shape.tokens * shape.out, -72, 2);
    Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, masked, x, dy, 1.0f);
    std::fill(test.sums.begin(), test.sums.end(), 0.0f);
    if (const auto sums = run(subject, settings, test)) check_exact(*sums, test);
}

// What is padded inside an implementation must not meet an infinity outside.
BOOST_DATA_TEST_CASE(confines_infinities,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(shapes) * masked_or_not *
                         data::make(product_types),
                     subject, shape, masked, type) {
    const std::uint64_t token = shape.tokens - 1, column = shape.in - 1;
    Tensor x = make_exact(type, shape.tokens * shape.in, 0, 1);
    x.set(token * shape.in + column, std::numeric_limits<float>::infinity());
    const Tensor dy = make_exact(type, shape.tokens * shape.out, 0, 2);
    const Case test = make_case(shape, SPEFT_LAYOUT_OUT_IN, masked, x, dy, 1.0f);
    if (const auto sums = run(subject, one_thread, test)) check_exact(*sums, test);
}

// Two bfloat16 that are taken at once make a NaN where an infinity stands above anything but zero.
BOOST_DATA_TEST_CASE(keeps_infinities,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * layouts * masked_or_not *
                         data::make(product_types),
                     subject, layout, masked, type) {
    const Shape shape = {4, 20, 20};
    const Tensor ones(type, std::vector<float>(shape.tokens * shape.in, 1.0f));
    Tensor with_infinities = ones;
    for (const std::uint64_t token : {1, 2})
        with_infinities.set(token * shape.in + token, std::numeric_limits<float>::infinity());
    for (const bool swapped : {false, true}) {
        const Case test = make_case(shape, layout, masked, swapped ? with_infinities : ones,
                                    swapped ? ones : with_infinities, 1.0f);
        if (const auto sums = run(subject, one_thread, test)) check_exact(*sums, test);
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_ADD_PRODUCT)) * data::make(other_settings) * masked_or_not *
                         data::make(product_types),
                     subject, settings, masked, dy_type) {
    const Shape shape = {600, 232, 192};  // whole vectors in a row, where rows are aligned at all
    const Tensor x(SPEFT_SCALAR_BFLOAT16, make_values(shape.tokens * shape.in, Values::ordinary, 1));
    const Tensor dy(dy_type, make_values(shape.tokens * shape.out, Values::ordinary, 2));
    const Case test = make_case(shape, SPEFT_LAYOUT_IN_OUT, masked, x, dy, 0.3f);
    const auto expected = run(subject, one_thread, test), actual = run(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
