#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <numeric>
#include <optional>

#include "tests/conformance/quantized.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Quantized {
    std::vector<unsigned char> codes;
    std::vector<float> absmax;
    std::vector<float> offset;
    std::uint64_t not_finite = 0;
};

// The level nearest to a share: the first of those, as they rise, that have no middle above them below the share.
std::uint8_t find_level(const std::vector<float> &levels, float share) {
    std::vector<std::uint8_t> order(levels.size());
    std::iota(order.begin(), order.end(), std::uint8_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return levels[a] < levels[b]; });
    std::size_t place = 0;
    while (place + 1 < order.size() &&
           rounded(rounded(levels[order[place]] + levels[order[place + 1]]) / 2) < share)
        ++place;
    return order[place];
}

float clamp_share(float share) { return std::min(std::max(share, -1.0f), 1.0f); }

Quantized expect(const Tensor &weights, const Codes &as, bool with_offset) {
    Quantized expected;
    for (std::uint64_t j = 0; j < weights.size(); ++j) expected.not_finite += !std::isfinite(weights.get(j));
    float offset = 0;
    if (with_offset) {
        double sum = 0;
        for (std::uint64_t j = 0; j < weights.size(); ++j) sum += weights.get(j);
        if (weights.size() > 0) offset = static_cast<float>(sum / static_cast<double>(weights.size()));
        expected.offset = {offset};
    }
    std::vector<std::uint8_t> numbers;
    for (std::uint64_t begin = 0; begin < weights.size(); begin += as.block) {
        const std::uint64_t end = std::min(begin + as.block, weights.size());
        float absmax = 0;
        for (std::uint64_t j = begin; j < end; ++j)
            absmax = std::max(absmax, std::fabs(rounded(weights.get(j) - offset)));
        const bool of_levels4 = as.coding == SPEFT_CODING_LEVELS4, is_short = end - begin < as.block;
        const float divisor = std::max(absmax, 1e-38f), reciprocal = rounded(1 / divisor);
        const float factor = rounded(rounded(1 / absmax) * 127);
        for (std::uint64_t j = begin; j < end; ++j) {
            const float weight = rounded(weights.get(j) - offset);
            if (as.coding == SPEFT_CODING_INT8) {
                const float count = std::isfinite(factor) ? rounded(weight * factor) : 0;
                numbers.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(std::nearbyint(count))));
            } else if (of_levels4 && is_short) {
                numbers.push_back(find_level(as.levels, clamp_share(rounded(weight / divisor))));
            } else if (!of_levels4 && absmax == 0) {
                numbers.push_back(0);
            } else {
                numbers.push_back(find_level(as.levels, clamp_share(rounded(weight * reciprocal))));
            }
        }
        expected.absmax.push_back(of_levels4 && is_short ? divisor : absmax);
    }
    if (as.coding == SPEFT_CODING_LEVELS4) {
        if (numbers.size() % 2) numbers.push_back(find_level(as.levels, 0));
        for (std::size_t pair = 0; pair < numbers.size(); pair += 2)
            expected.codes.push_back(static_cast<unsigned char>(16 * numbers[pair] + numbers[pair + 1]));
    } else {
        expected.codes.assign(numbers.begin(), numbers.end());
    }
    return expected;
}

std::optional<Quantized> run(const Subject &subject, const Settings &settings, const Tensor &weights, const Codes &as,
                             const Quantized &before) {
    Device device(*subject.table, settings);
    const DeviceTensor source(device, weights);
    const DeviceArray<unsigned char> codes(device, before.codes);
    const DeviceArray<float> absmax(device, before.absmax), offset(device, before.offset);
    Quantized after;
    after.not_finite = 77;
    speft_quantize_blocks arguments{};
    arguments.weights = source.data();
    arguments.codes = codes.data();
    arguments.absmax = absmax.data();
    arguments.offset = before.offset.empty() ? nullptr : offset.data();
    arguments.levels = as.levels.empty() ? nullptr : as.levels.data();
    arguments.count = weights.size();
    arguments.block = as.block;
    arguments.not_finite = &after.not_finite;
    arguments.weights_type = weights.type();
    arguments.coding = as.coding;
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((source.read() == weights));
    after.codes = codes.read();
    after.absmax = absmax.read();
    after.offset = offset.read();
    return after;
}

void check(const Subject &subject, const Settings &settings, const Tensor &weights, const Codes &as,
           bool with_offset = false) {
    const Quantized expected = expect(weights, as, with_offset);
    Quantized before = expected;
    std::fill(before.codes.begin(), before.codes.end(), 0xa5);
    std::fill(before.absmax.begin(), before.absmax.end(), 7.0f);
    std::fill(before.offset.begin(), before.offset.end(), 7.0f);
    const auto actual = run(subject, settings, weights, as, before);
    if (!actual) return;
    BOOST_REQUIRE_EQUAL(actual->not_finite, expected.not_finite);
    const Quantized &left = expected.not_finite > 0 ? before : expected;
    // In float64 sums of such values are exact in any order: multiples of 2^-31, but for one block of tiny ones, which
    // come near no rounding of the mean.
    check_same(actual->offset, left.offset);
    check_same(actual->absmax, left.absmax);
    BOOST_TEST(actual->codes == left.codes, boost::test_tools::per_element());
}

Tensor make_weights(std::int32_t type, std::uint64_t count, Values kind) {
    std::vector<float> values = make_values(count, kind, 5);
    for (std::uint64_t j = 64; j < count && j < 128; ++j) values[j] = j % 2 ? 0.0f : -0.0f;
    for (std::uint64_t j = 128; j < count && j < 192; ++j) values[j] = std::ldexp(values[j], -130);
    return Tensor(type, values);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantize)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_QUANTIZE)) * data::make(lengths) * data::make(scalar_types) *
                         data::make(codings) * data::make({Values::ordinary, Values::equal, Values::special}),
                     subject, length, type, as, values) {
    check(subject, one_thread, make_weights(type, length, values), as);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_QUANTIZE)) * data::make(other_settings) *
                         data::make(codings),
                     subject, settings, as) {
    check(subject, settings, make_weights(SPEFT_SCALAR_FLOAT32, 70001, Values::ordinary), as,
          as.coding == SPEFT_CODING_LEVELS8);
}

BOOST_DATA_TEST_CASE(subtracts_the_mean, data::make(subjects(SPEFT_OPERATION_QUANTIZE)) * data::make(lengths), subject,
                     length) {
    check(subject, one_thread, make_weights(SPEFT_SCALAR_FLOAT32, length, Values::ordinary), levels8, true);
}

// Each level is its own code, and a middle belongs to the level below it.
BOOST_DATA_TEST_CASE(rounds_to_the_nearest_level,
                     data::make(subjects(SPEFT_OPERATION_QUANTIZE)) * data::make(codings_of_levels), subject, as) {
    std::vector<float> rising = as.levels, values;
    std::sort(rising.begin(), rising.end());
    const auto add = [&](float value) {
        if (values.size() % as.block == 0) values.push_back(1);
        values.push_back(value);
    };
    for (std::size_t i = 0; i + 1 < rising.size(); ++i) {
        const float middle = (rising[i] + rising[i + 1]) / 2;
        for (const float value : {rising[i], std::nextafter(middle, -2.0f), middle, std::nextafter(middle, 2.0f)})
            add(value);
    }
    check(subject, one_thread, Tensor(SPEFT_SCALAR_FLOAT32, values), as);
}

BOOST_AUTO_TEST_SUITE_END()
