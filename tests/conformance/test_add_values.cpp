#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/values.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Case {
    std::vector<float> sums;
    Tensor source;
    std::vector<std::uint32_t> indices;
    bool masked;
    float scale;
    std::int32_t map = SPEFT_MAP_IDENTITY;
    float weight = 1;
};

Case make_case(std::uint64_t length, std::int32_t type, Values values, bool masked) {
    Tensor source(type, make_values(length, values, 1));
    std::vector<std::uint32_t> indices = masked ? make_mask(length, 3, 2) : std::vector<std::uint32_t>();
    std::vector<float> sums = make_values(masked ? indices.size() : length, values, 3);
    return {std::move(sums), std::move(source), std::move(indices), masked, 0.3f};
}

float apply_map(std::int32_t map, float value) {
    switch (map) {
    case SPEFT_MAP_SQUARE: return rounded(value * value);
    case SPEFT_MAP_ABSOLUTE: return std::fabs(value);
    default: return value;
    }
}

std::vector<float> compute_truth(const Case &test) {
    std::vector<float> sums = test.sums;
    for (std::uint64_t j = 0; j < sums.size(); ++j) {
        const float scaled = rounded(test.scale * test.source.get(test.masked ? test.indices[j] : j));
        sums[j] = rounded(sums[j] + rounded(test.weight * apply_map(test.map, scaled)));
    }
    return sums;
}

std::optional<std::vector<float>> run(const Subject &subject, const Settings &settings, const Case &test) {
    Device device(*subject.table, settings);
    const DeviceArray<float> sums(device, test.sums);
    const DeviceTensor source(device, test.source);
    const DeviceArray<std::uint32_t> indices(device, test.indices);
    const speft_add_values arguments = {.sums = sums.data(),
                                        .source = source.data(),
                                        .indices = test.masked ? indices.data() : nullptr,
                                        .count = test.sums.size(),
                                        .source_type = test.source.type(),
                                        .map = test.map,
                                        .scale = test.scale,
                                        .weight = test.weight};
    if (!device.run(subject, &arguments)) return {};
    check_same(source.read(), test.source);
    return sums.read();
}

const std::vector<std::int32_t> maps = {SPEFT_MAP_IDENTITY, SPEFT_MAP_SQUARE, SPEFT_MAP_ABSOLUTE};

}  // namespace

BOOST_AUTO_TEST_SUITE(add_values)

BOOST_DATA_TEST_CASE(matches,
                     data::make(subjects(SPEFT_OPERATION_ADD_VALUES)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(kinds_of_values) * data::make({false, true}),
                     subject, length, type, values, masked) {
    const Case test = make_case(length, type, values, masked);
    if (const auto sums = run(subject, one_thread, test)) check_same(*sums, compute_truth(test));
}

BOOST_DATA_TEST_CASE(maps_and_weighs_what_it_adds,
                     data::make(subjects(SPEFT_OPERATION_ADD_VALUES)) * data::make({1, 9, 4097}) *
                         data::make(scalar_types) * data::make({Values::ordinary, Values::special}) *
                         data::make({false, true}) * data::make(maps) * data::make({0.7f, 1e30f}),
                     subject, length, type, values, masked, map, weight) {
    Case test = make_case(static_cast<std::uint64_t>(length), type, values, masked);
    test.map = map;
    test.weight = weight;
    if (const auto sums = run(subject, one_thread, test)) check_same(*sums, compute_truth(test));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_ADD_VALUES)) * data::make(other_settings) *
                         data::make(scalar_types) * data::make({false, true}) * data::make(maps),
                     subject, settings, type, masked, map) {
    Case test = make_case(70001, type, Values::special, masked);
    test.map = map;
    test.weight = 0.7f;
    if (const auto sums = run(subject, settings, test)) check_same(*sums, compute_truth(test));
}

// Every number of 16 bits, as it converts.
BOOST_DATA_TEST_CASE(reads_every_number_of_16_bits,
                     data::make(subjects(SPEFT_OPERATION_ADD_VALUES)) *
                         data::make({SPEFT_SCALAR_BFLOAT16, SPEFT_SCALAR_FLOAT16}),
                     subject, type) {
    const std::uint64_t numbers = 1u << 16;
    Case test = {std::vector<float>(numbers), Tensor(type, numbers), {}, false, 1.0f};
    for (std::uint64_t bits = 0; bits < numbers; ++bits) test.source.set_bits(bits, static_cast<std::uint32_t>(bits));
    if (const auto sums = run(subject, one_thread, test)) check_same(*sums, compute_truth(test));
}

BOOST_AUTO_TEST_SUITE_END()
