#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/moments.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// bitsandbytes' create_dynamic_map(signed, max_exponent_bits=7, total_bits=8), in float64 and from boundaries to means
// as it does.
std::vector<double> make_dynamic_map(bool is_signed) {
    std::vector<double> values = {0, 1};
    for (int exponent = 0; exponent < 7; ++exponent) {
        const int items = (is_signed ? 1 << exponent : 2 << exponent) + 1;
        for (int item = 0; item + 1 < items; ++item) {
            const double lower = 0.1 + 0.9 * item / (items - 1), upper = 0.1 + 0.9 * (item + 1) / (items - 1);
            const double value = std::pow(10.0, exponent - 6) * ((lower + upper) / 2);
            values.push_back(value);
            if (is_signed) values.push_back(-value);
        }
    }
    std::sort(values.begin(), values.end());
    return values;
}

std::optional<HostMoments> write(const Subject &subject, const Settings &settings, HostMoments moments,
                                 const std::vector<float> &values) {
    Device device(*subject.table, settings);
    const DeviceMoments target(device, moments);
    const DeviceArray<float> source(device, values);
    const speft_convert_moments arguments = {.moments = target.view(),
                                             .values = source.data(),
                                             .count = values.size(),
                                             .to_float = 0,
                                             .is_signed = moments.is_signed};
    if (!device.run(subject, &arguments)) return {};
    check_same(source.read(), values);
    return target.read();
}

std::optional<std::vector<float>> read(const Subject &subject, const Settings &settings, const HostMoments &moments) {
    Device device(*subject.table, settings);
    const DeviceMoments source(device, moments);
    const DeviceArray<float> target(device, std::vector<float>(moments.count(), 7.0f));
    const speft_convert_moments arguments = {.moments = source.view(),
                                             .values = target.data(),
                                             .count = moments.count(),
                                             .to_float = 1,
                                             .is_signed = moments.is_signed};
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((source.read().bytes == moments.bytes));
    return target.read();
}

void check(const Subject &subject, const Settings &settings, std::uint64_t length, Values kind, std::int32_t type,
           bool is_signed) {
    std::vector<float> values = make_values(length, kind, 1);
    for (std::uint64_t j = 0; j < length && j < 64; ++j) values[j] = j % 2 ? 0.0f : -0.0f;  // a block of zeros
    const HostMoments expected(type, is_signed, 99, values);
    HostMoments before(type, is_signed, 99, make_values(length, Values::ordinary, 2));
    if (const auto actual = write(subject, settings, before, values)) check_same(*actual, expected);
    if (const auto actual = read(subject, settings, expected)) check_same(*actual, expected.load());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(convert_moments)

BOOST_AUTO_TEST_CASE(codes_are_those_of_the_dynamic_map) {
    for (const bool is_signed : {true, false}) {
        const speft::BlockCode &code = is_signed ? speft::signed_block_code : speft::unsigned_block_code;
        const std::vector<double> map = make_dynamic_map(is_signed);
        BOOST_REQUIRE_EQUAL(map.size(), 256);
        for (std::size_t number = 0; number < 256; ++number)
            // Half a unit in the last place of float32, and as good as nothing of float64.
            BOOST_REQUIRE_SMALL(code.values[number] - map[number], 1.001 * 0x1p-24 * std::fabs(map[number]) + 1e-300);
        for (std::size_t number = 0; number < 255; ++number) BOOST_REQUIRE(code.values[number] < code.values[number + 1]);
    }
}

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_CONVERT_MOMENTS)) * data::make(lengths) *
                         data::make(moment_types) * data::make({true, false}) *
                         data::make({Values::ordinary, Values::equal}),
                     subject, length, type, is_signed, values) {
    check(subject, one_thread, length, values, type, is_signed);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_CONVERT_MOMENTS)) * data::make(other_settings) *
                         data::make(moment_types) * data::make({Values::ordinary, Values::special}),
                     subject, settings, type, values) {
    check(subject, settings, 10001, values, type, true);
    check(subject, settings, 10001, values, type, false);
}

// Every code is its own nearest, and halfway between two the lower one is taken.
BOOST_DATA_TEST_CASE(rounds_to_the_nearest_code,
                     data::make(subjects(SPEFT_OPERATION_CONVERT_MOMENTS)) * data::make({true, false}), subject,
                     is_signed) {
    const speft::BlockCode &code = is_signed ? speft::signed_block_code : speft::unsigned_block_code;
    std::vector<float> values;
    std::vector<unsigned char> codes;
    const auto add = [&](float value, int number) {
        if (values.size() % 64 == 0) {  // the scale of each block is 1
            values.push_back(1.0f);
            codes.push_back(255);
        }
        values.push_back(value);
        codes.push_back(static_cast<unsigned char>(number));
    };
    for (int number = 0; number < 255; ++number) {
        const double middle =
            (static_cast<double>(code.values[number]) + static_cast<double>(code.values[number + 1])) / 2;
        const auto nearest = static_cast<float>(middle);
        add(code.values[number], number);
        add(std::nextafter(nearest, -2.0f), number);
        add(std::nextafter(nearest, 2.0f), number + 1);
        if (static_cast<double>(nearest) == middle) add(nearest, number);
    }
    const HostMoments before(SPEFT_STATE_BLOCKS8, is_signed, 0, std::vector<float>(values.size()));
    const auto after = write(subject, one_thread, before, values);
    if (after) BOOST_TEST((after->bytes == codes));
}

BOOST_DATA_TEST_CASE(what_is_not_finite_spoils_its_block_alone,
                     data::make(subjects(SPEFT_OPERATION_CONVERT_MOMENTS)) *
                         data::make({std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                     std::numeric_limits<float>::quiet_NaN()}),
                     subject, spoiler) {
    std::vector<float> values = make_values(192, Values::ordinary, 1);
    values[100] = spoiler;
    const auto written = write(subject, one_thread,
                               HostMoments(SPEFT_STATE_BLOCKS8, true, 0, std::vector<float>(192)), values);
    if (!written) return;
    const auto after = read(subject, one_thread, *written);
    if (!after) return;
    for (std::uint64_t j = 0; j < 192; ++j) BOOST_REQUIRE_EQUAL(std::isnan((*after)[j]), j / 64 == 1);
}

BOOST_AUTO_TEST_SUITE_END()
