// Operations on lists of float32 arrays: sum_squares and scale.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/values.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

using Arrays = std::vector<std::vector<float>>;

// One array of this length, between an empty one and a short one.
Arrays make_arrays(std::uint64_t length, Values values) {
    return {make_values(length, values, 1), {}, make_values(5, values, 2)};
}

// Arrays on a device, as the operations take them.
struct Placed {
    Placed(Device &device, const Arrays &arrays) {
        for (const auto &array : arrays) {
            memory.push_back(std::make_unique<DeviceArray<float>>(device, array));
            pointers.push_back(memory.back()->data());
            counts.push_back(array.size());
        }
    }

    std::vector<std::unique_ptr<DeviceArray<float>>> memory;
    std::vector<float *> pointers;
    std::vector<std::uint64_t> counts;
};

std::optional<double> run_sum(const Subject &subject, const Settings &settings, const Arrays &arrays) {
    Device device(*subject.table, settings);
    const Placed placed(device, arrays);
    double sum = -1;
    const speft_sum_squares arguments = {.values = placed.pointers.data(),
                                         .counts = placed.counts.data(),
                                         .arrays = arrays.size(),
                                         .sum = &sum};
    if (!device.run(subject, &arguments)) return {};
    return sum;
}

std::optional<Arrays> run_scale(const Subject &subject, const Settings &settings, const Arrays &arrays,
                                float factor) {
    Device device(*subject.table, settings);
    const Placed placed(device, arrays);
    const speft_scale arguments = {.values = placed.pointers.data(),
                                   .counts = placed.counts.data(),
                                   .arrays = arrays.size(),
                                   .factor = factor};
    if (!device.run(subject, &arguments)) return {};
    Arrays scaled;
    for (const auto &array : placed.memory) scaled.push_back(array->read());
    return scaled;
}

void check_scaled(const Arrays &actual, const Arrays &before, float factor) {
    for (std::uint64_t array = 0; array < before.size(); ++array) {
        std::vector<float> expected = before[array];
        for (float &value : expected) value = rounded(value * factor);
        check_same(actual[array], expected);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sum_squares)

BOOST_DATA_TEST_CASE(is_near_the_truth, data::make(subjects(SPEFT_OPERATION_SUM_SQUARES)) * data::make(lengths),
                     subject, length) {
    const Arrays arrays = make_arrays(length, Values::ordinary);
    const auto sum = run_sum(subject, one_thread, arrays);
    if (!sum) return;
    long double expected = 0;
    for (const auto &array : arrays)
        for (const float value : array) expected += static_cast<long double>(value) * value;
    // Squares of float32 are exact in float64 and none is negative: each addition is off by 2^-53 at most.
    const double tolerance = static_cast<double>(length + 5) * 0x1p-53 * static_cast<double>(expected);
    BOOST_TEST(std::fabs(*sum - static_cast<double>(expected)) <= tolerance);
}

BOOST_DATA_TEST_CASE(of_nothing_is_zero, data::make(subjects(SPEFT_OPERATION_SUM_SQUARES)), subject) {
    for (const Arrays &arrays : {Arrays{}, Arrays{{}}, Arrays{{}, {}}})
        if (const auto sum = run_sum(subject, one_thread, arrays)) BOOST_TEST(*sum == 0.0);
}

BOOST_DATA_TEST_CASE(keeps_what_float32_cannot, data::make(subjects(SPEFT_OPERATION_SUM_SQUARES)), subject) {
    const double huge = std::numeric_limits<float>::max(), tiny = 0x1p-149;
    if (const auto sum = run_sum(subject, one_thread, {{static_cast<float>(huge)}})) BOOST_TEST(*sum == huge * huge);
    if (const auto sum = run_sum(subject, one_thread, {{static_cast<float>(tiny)}})) BOOST_TEST(*sum == tiny * tiny);
}

BOOST_DATA_TEST_CASE(passes_on_what_is_not_finite, data::make(subjects(SPEFT_OPERATION_SUM_SQUARES)), subject) {
    for (const std::uint64_t place : {std::uint64_t{0}, std::uint64_t{20000}, std::uint64_t{70000}}) {
        Arrays arrays = make_arrays(70001, Values::ordinary);
        arrays[0][place] = -std::numeric_limits<float>::infinity();
        if (const auto sum = run_sum(subject, one_thread, arrays)) BOOST_TEST(std::isinf(*sum));
        arrays[0][place] = std::numeric_limits<float>::quiet_NaN();
        if (const auto sum = run_sum(subject, one_thread, arrays)) BOOST_TEST(std::isnan(*sum));
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SUM_SQUARES)) * data::make(other_settings), subject,
                     settings) {
    const Arrays arrays = make_arrays(70001, Values::ordinary);
    const auto expected = run_sum(subject, one_thread, arrays);
    if (expected) BOOST_TEST(*run_sum(subject, settings, arrays) == *expected);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(scale)

BOOST_DATA_TEST_CASE(matches,
                     data::make(subjects(SPEFT_OPERATION_SCALE)) * data::make(lengths) * data::make(kinds_of_values),
                     subject, length, values) {
    const Arrays arrays = make_arrays(length, values);
    if (const auto scaled = run_scale(subject, one_thread, arrays, 0.3f)) check_scaled(*scaled, arrays, 0.3f);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SCALE)) * data::make(other_settings), subject, settings) {
    const Arrays arrays = make_arrays(70001, Values::special);
    if (const auto scaled = run_scale(subject, settings, arrays, 0.3f)) check_scaled(*scaled, arrays, 0.3f);
}

BOOST_AUTO_TEST_SUITE_END()
