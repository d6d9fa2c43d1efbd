#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// Of a's rows and of the sparse matrix.
struct Shape {
    std::uint64_t rows, sparse_rows, sparse_columns;
    friend std::ostream &operator<<(std::ostream &out, const Shape &shape) {
        return out << shape.rows << " rows, " << shape.sparse_rows << " × " << shape.sparse_columns;
    }
};

// Around the widths of vectors and of blocks of rows and columns; the last ones take several of each.
const std::vector<Shape> shapes = {{1, 1, 1},     {1, 5, 3},    {2, 3, 5},     {15, 17, 9},   {16, 48, 16},
                                   {17, 49, 65},  {31, 1, 300}, {32, 300, 1},  {33, 64, 64},  {63, 9, 257},
                                   {64, 257, 10}, {65, 70, 40}, {130, 530, 30}, {70, 12, 1100}};
const std::vector<Shape> empty_shapes = {{3, 0, 4}, {0, 5, 4}, {3, 5, 0}, {0, 0, 0}};

struct Case {
    Shape shape;
    bool transposed, accumulate;
    float scale;
    std::vector<std::uint32_t> indices;
    Tensor a, values, target;

    std::uint64_t a_columns() const { return transposed ? shape.sparse_columns : shape.sparse_rows; }
    std::uint64_t target_columns() const { return transposed ? shape.sparse_rows : shape.sparse_columns; }
};

// One of so many scalars of the sparse matrix, its first and its last among them; or none.
constexpr std::uint32_t no_entry = 0;
const auto strides = data::make({no_entry, 1u, 7u, 300u});

Case make_shape(Shape shape, bool transposed, bool accumulate, std::uint32_t stride, std::int32_t target_type) {
    const std::uint64_t size = shape.rows * (transposed ? shape.sparse_rows : shape.sparse_columns);
    // What is there already must not be looked at where nothing is added to it.
    const std::vector<float> unread(size, std::numeric_limits<float>::quiet_NaN());
    return {shape,
            transposed,
            accumulate,
            0.5f,
            stride == no_entry ? std::vector<std::uint32_t>{}
                               : make_mask(shape.sparse_rows * shape.sparse_columns, stride, 5),
            Tensor(SPEFT_SCALAR_FLOAT32, 0),
            Tensor(SPEFT_SCALAR_FLOAT32, 0),
            Tensor(target_type, accumulate ? make_values(size, Values::few, 9) : unread)};
}

Case make_exact_case(Shape shape, bool transposed, bool accumulate, std::uint32_t stride,
                     std::int32_t a_type = SPEFT_SCALAR_FLOAT32, std::int32_t values_type = SPEFT_SCALAR_FLOAT32,
                     std::int32_t target_type = SPEFT_SCALAR_FLOAT32) {
    Case test = make_shape(shape, transposed, accumulate, stride, target_type);
    test.a = make_exact(a_type, shape.rows * test.a_columns(), 0, 1);
    test.values = make_exact(values_type, test.indices.size(), -2, 2);
    return test;
}

Case make_ordinary_case(Shape shape, bool transposed, bool accumulate, std::uint32_t stride, std::int32_t type,
                        std::int32_t target_type) {
    Case test = make_shape(shape, transposed, accumulate, stride, target_type);
    test.scale = 0.3f;
    test.a = make_ordinary(type, shape.rows * test.a_columns(), 1);
    test.values = make_ordinary(type, test.indices.size(), 2);
    return test;
}

std::optional<Tensor> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceTensor a(device, test.a), values(device, test.values), target(device, test.target);
    const DeviceArray<std::uint32_t> indices(device, test.indices);
    const speft_multiply_sparse arguments = {.a = a.data(),
                                             .target = target.data(),
                                             .indices = indices.data(),
                                             .values = values.data(),
                                             .count = test.indices.size(),
                                             .rows = test.shape.rows,
                                             .sparse_rows = test.shape.sparse_rows,
                                             .sparse_columns = test.shape.sparse_columns,
                                             .a_type = test.a.type(),
                                             .target_type = test.target.type(),
                                             .values_type = test.values.type(),
                                             .transposed = test.transposed,
                                             .accumulate = test.accumulate,
                                             .scale = test.scale};
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((a.read() == test.a));
    BOOST_TEST((values.read() == test.values));
    return target.read();
}

// In float64, entry by entry.
std::vector<ProductSum> compute_truth(const Case &test) {
    const std::vector<double> a = values_of(test.a), values = values_of(test.values);
    std::vector<ProductSum> target;
    for (std::uint64_t i = 0; i < test.shape.rows; ++i) {
        std::vector<ProductSum> sums(test.target_columns());
        for (std::uint64_t j = 0; j < test.indices.size(); ++j) {
            const std::uint64_t row = test.indices[j] / test.shape.sparse_columns;
            const std::uint64_t column = test.indices[j] % test.shape.sparse_columns;
            const std::uint64_t from = test.transposed ? column : row, to = test.transposed ? row : column;
            sums[to].add(a[i * test.a_columns() + from] * values[j]);
        }
        for (const ProductSum &sum : sums)
            target.push_back(apply(sum, test.scale, test.accumulate ? test.target.get(target.size()) : 0));
    }
    return target;
}

const auto implementations = data::make(subjects(SPEFT_OPERATION_MULTIPLY_SPARSE));
const auto no_or_yes = data::make({false, true});

}  // namespace

BOOST_AUTO_TEST_SUITE(multiply_sparse)

BOOST_DATA_TEST_CASE(is_exact_where_float32_is, implementations * data::make(shapes) * no_or_yes * no_or_yes * strides,
                     subject, shape, transposed, accumulate, stride) {
    const Case test = make_exact_case(shape, transposed, accumulate, stride);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     implementations * data::make(scalar_types) * data::make(product_types) * data::make(scalar_types) *
                         no_or_yes * no_or_yes,
                     subject, a_type, values_type, target_type, transposed, accumulate) {
    const Case test = make_exact_case({51, 70, 67}, transposed, accumulate, 5, a_type, values_type, target_type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(is_the_base_where_nothing_is_summed,
                     implementations * data::make(empty_shapes) * no_or_yes * no_or_yes * data::make(scalar_types),
                     subject, shape, transposed, accumulate, type) {
    const Case test = make_exact_case(shape, transposed, accumulate, no_entry, type, SPEFT_SCALAR_FLOAT32, type);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     implementations * data::make(shapes) * no_or_yes * data::make(product_types) *
                         data::make(scalar_types),
                     subject, shape, transposed, type, target_type) {
    const Case test = make_ordinary_case(shape, transposed, true, 3, type, target_type);
    if (const auto target = run(subject, one_thread, test))
        check_near(*target, compute_truth(test), test.a_columns());
}

// Rows and columns of every length, some of which have no entry, others all of them.
BOOST_DATA_TEST_CASE(takes_lines_of_every_length, implementations * no_or_yes, subject, transposed) {
    const Shape shape = {40, 90, 100};
    Case test = make_shape(shape, transposed, true, no_entry, SPEFT_SCALAR_FLOAT32);
    for (std::uint32_t row = 0; row < shape.sparse_rows; ++row)
        for (std::uint32_t column = 0; column < shape.sparse_columns; ++column)
            if (row % 3 != 1 && column % 7 != 2 && column < 2 * row)
                test.indices.push_back(row * static_cast<std::uint32_t>(shape.sparse_columns) + column);
    test.a = make_exact(SPEFT_SCALAR_FLOAT32, shape.rows * test.a_columns(), 0, 1);
    test.values = make_exact(SPEFT_SCALAR_FLOAT32, test.indices.size(), -2, 2);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

// float64 knows which columns they reach: those with an entry, even one of 0, and no other.
BOOST_DATA_TEST_CASE(confines_what_is_not_finite,
                     implementations * data::make(shapes) * no_or_yes * no_or_yes * strides *
                         data::make({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}),
                     subject, shape, transposed, accumulate, stride, value) {
    Case test = make_exact_case(shape, transposed, accumulate, stride);
    for (std::uint64_t i = 0; i < test.a.size(); i += 13) test.a.set(i, value);
    test.a.set(test.a.size() - 1, value);
    if (const auto target = run(subject, one_thread, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(keeps_denormals, implementations * data::make(other_settings) * no_or_yes, subject, settings,
                     transposed) {
    Case test = make_exact_case({50, 90, 70}, transposed, false, 4);
    test.a = make_exact(SPEFT_SCALAR_FLOAT32, test.a.size(), -75, 1);
    test.values = make_exact(SPEFT_SCALAR_FLOAT32, test.values.size(), -72, 2);
    test.scale = 1;
    if (const auto target = run(subject, settings, test)) check_exact(*target, compute_truth(test));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     implementations * data::make(other_settings) * no_or_yes * data::make(product_types) *
                         data::make(scalar_types),
                     subject, settings, transposed, type, target_type) {
    const Case test = make_ordinary_case({190, 130, 330}, transposed, true, 9, type, target_type);
    const auto expected = run(subject, one_thread, test), actual = run(subject, settings, test);
    if (expected) check_same(*actual, *expected);
}

BOOST_AUTO_TEST_SUITE_END()
