#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/quantized.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Case {
    QuantizedWeight before;
    std::vector<std::uint32_t> indices;
    Tensor values;

    std::uint64_t blocks() const { return (before.count + before.as.block - 1) / before.as.block; }

    // With the values added.
    std::vector<float> weights() const {
        std::vector<float> weights(before.count);
        for (std::uint64_t j = 0; j < weights.size(); ++j) weights[j] = before.weight(j);
        for (std::uint64_t j = 0; j < indices.size(); ++j)
            weights[indices[j]] = rounded(weights[indices[j]] + values.get(j));
        return weights;
    }

    // The blocks that values are added to.
    std::vector<bool> touched() const {
        std::vector<bool> touched(blocks());
        for (const std::uint32_t index : indices) touched[index / before.as.block] = true;
        return touched;
    }
};

struct Result {
    QuantizedWeight after;
    std::uint64_t not_finite = 77, changed = 77;
    double squares = 77, squared_errors = 77;
};

enum class Where { in_place, elsewhere };
std::optional<Result> run(const Subject &subject, const Settings &settings, const Case &test, Where where) {
    Device device(*subject.table, settings);
    const DeviceQuantized source(device, test.before), copy(device, test.before);
    const DeviceQuantized &target = where == Where::in_place ? source : copy;
    const DeviceArray<std::uint32_t> indices(device, test.indices);
    const DeviceTensor values(device, test.values);
    const speft_quantized_blocks blocks = target.blocks();
    Result result;
    speft_requantize_blocks arguments{};
    arguments.quantized = source.blocks();
    arguments.codes = const_cast<void *>(blocks.codes);
    arguments.absmax = const_cast<float *>(blocks.absmax);
    arguments.absmax_codes = const_cast<std::uint8_t *>(blocks.absmax_codes);
    arguments.indices = indices.data();
    arguments.values = values.data();
    arguments.count = test.indices.size();
    arguments.values_type = test.values.type();
    arguments.not_finite = &result.not_finite;
    arguments.changed = &result.changed;
    arguments.squares = &result.squares;
    arguments.squared_errors = &result.squared_errors;
    if (!device.run(subject, &arguments)) return {};
    if (where == Where::elsewhere) source.check_unchanged();
    BOOST_TEST((indices.read() == test.indices));
    BOOST_TEST((values.read() == test.values));
    result.after = target.read();
    return result;
}

// Nothing can be nearer to a weight than what its code stands for, but by the roundings of the share that the code is
// looked up by: a few of 2^-24 of it. Scales below 1e-38 are taken for that, and int8 codes are 0 where (1/a)·127 is
// not finite: then a weight is as far as it is large.
void check_nearest(float chosen, const std::vector<float> &choices, float weight, float scale) {
    double least = std::numeric_limits<double>::infinity();
    for (const float choice : choices) least = std::min(least, std::fabs(static_cast<double>(choice) - weight));
    const double tolerance = 0x1p-21 * (std::fabs(static_cast<double>(scale)) + std::fabs(weight)) + 4e-37;
    if (!(std::fabs(static_cast<double>(chosen) - weight) <= least + tolerance))
        BOOST_FAIL(chosen << " was chosen for " << weight << " by the scale " << scale << ", which is " << least
                          << " from the nearest");
}

// The scale of a block's largest magnitude, as it will be read, or where it is quantized one of the two next to it.
std::vector<float> fresh_scales(const Case &test, std::uint64_t block, float absmax) {
    const QuantizedWeight &before = test.before;
    const bool is_short = (block + 1) * before.as.block > before.count;
    if (before.absmax_block == 0) {
        // As quantizing leaves it in a short block.
        const bool is_divisor = before.as.coding == SPEFT_CODING_LEVELS4 && is_short;
        return {is_divisor ? std::max(absmax, 1e-38f) : absmax};
    }
    std::vector<float> choices;
    for (int code = 0; code < 256; ++code)
        choices.push_back(before.decode_scale(static_cast<std::uint8_t>(code), block));
    const auto distance = [&](float choice) { return std::fabs(static_cast<double>(choice) - absmax); };
    double least = std::numeric_limits<double>::infinity();
    for (const float choice : choices) least = std::min(least, distance(choice));
    const double tolerance = 0x1p-21 * (std::fabs(static_cast<double>(before.absmax_absmax[block / before.absmax_block])) +
                                        std::fabs(before.absmax_offset[0]) + absmax) + 4e-37;
    std::erase_if(choices, [&](float choice) { return !(distance(choice) <= least + tolerance); });
    return choices;
}

// Σ (ŵ − w)² with the nearest codes, by trying all.
double least_errors(const QuantizedWeight &weight, const std::vector<float> &weights, std::uint64_t begin,
                    std::uint64_t end, float scale) {
    const bool of_levels = weight.as.coding == SPEFT_CODING_LEVELS4;
    double sum = 0;
    for (std::uint64_t j = begin; j < end; ++j) {
        double least = std::numeric_limits<double>::infinity();
        for (int code = of_levels ? 0 : -127; code <= (of_levels ? 15 : 127); ++code) {
            const float value = weight.decode(static_cast<std::uint8_t>(code), scale);
            least = std::min(least, std::fabs(static_cast<double>(value) - weights[j]));
        }
        sum += least * least;
    }
    return sum;
}

// The scale is the one that was there, or that of the new maximum; and the other is not better, but by the roundings
// that check_nearest allows for.
void check_scale(const Case &test, const QuantizedWeight &after, std::uint64_t block,
                 const std::vector<float> &weights) {
    const std::uint64_t begin = block * test.before.as.block;
    const std::uint64_t end = std::min(begin + test.before.as.block, test.before.count);
    float absmax = 0;
    for (std::uint64_t j = begin; j < end; ++j) absmax = std::max(absmax, std::fabs(weights[j]));
    const float chosen = after.scale(block), kept = test.before.scale(block);
    const std::vector<float> fresh = fresh_scales(test, block, absmax);
    const bool is_fresh = std::find(fresh.begin(), fresh.end(), chosen) != fresh.end();
    if (!is_fresh && chosen != kept)
        BOOST_FAIL("a scale of " << chosen << ", where there was " << kept << " and the largest is " << absmax);
    const double with_chosen = least_errors(after, weights, begin, end, chosen);
    double with_other = least_errors(after, weights, begin, end, kept);
    if (chosen == kept) {
        with_other = 0;  // of the encoded scales that are equally near the worse one may be the other
        for (const float scale : fresh)
            with_other = std::max(with_other, least_errors(after, weights, begin, end, scale));
    }
    const double miss = 0x1p-21 * (std::fabs(static_cast<double>(kept)) + absmax) + 4e-37;
    const double count = static_cast<double>(end - begin);
    const double tolerance = 2 * miss * std::sqrt(count * std::max(with_chosen, with_other)) + count * miss * miss;
    if (!(with_chosen <= with_other + tolerance))
        BOOST_FAIL("the scale " << chosen << " was chosen with errors of " << with_chosen << "; the other has "
                                << with_other);
}

void check_codes(const QuantizedWeight &after, std::uint64_t begin, std::uint64_t end,
                 const std::vector<float> &weights) {
    const float scale = after.scale(begin / after.as.block);
    const bool of_levels = after.as.coding == SPEFT_CODING_LEVELS4;
    std::vector<float> choices;
    for (int code = of_levels ? 0 : -127; code <= (of_levels ? 15 : 127); ++code)
        choices.push_back(after.decode(static_cast<std::uint8_t>(code), scale));
    for (std::uint64_t j = begin; j < end; ++j) check_nearest(after.weight(j), choices, weights[j], scale);
}

void check_result(const Case &test, const Result &result) {
    const std::vector<float> weights = test.weights();
    const std::vector<bool> touched = test.touched();
    const QuantizedWeight &before = test.before, &after = result.after;
    double squares = 0, squared_errors = 0;
    for (std::uint64_t block = 0; block < test.blocks(); ++block) {
        const std::uint64_t begin = block * before.as.block, end = std::min(begin + before.as.block, before.count);
        if (!touched[block]) {
            BOOST_REQUIRE(before.absmax_block ? after.absmax_codes[block] == before.absmax_codes[block]
                                              : same(after.absmax[block], before.absmax[block]));
            for (std::uint64_t j = begin; j < end; ++j) BOOST_REQUIRE(after.code(j) == before.code(j));
            continue;
        }
        check_scale(test, after, block, weights);
        check_codes(after, begin, end, weights);
        for (std::uint64_t j = begin; j < end; ++j) {
            const double weight = weights[j], error = static_cast<double>(after.weight(j)) - weight;
            squares += weight * weight;
            squared_errors += error * error;
        }
    }
    check_same(after.absmax_absmax, before.absmax_absmax);
    check_same(after.absmax_offset, before.absmax_offset);
    const auto changed = std::count_if(test.indices.begin(), test.indices.end(),
                                       [&](std::uint32_t j) { return after.code(j) != before.code(j); });
    BOOST_TEST(result.changed == static_cast<std::uint64_t>(changed));
    // Terms and additions are rounded once each.
    const double tolerance = static_cast<double>(before.count + 4) * 0x1p-52;
    BOOST_TEST(std::fabs(result.squares - squares) <= tolerance * squares);
    BOOST_TEST(std::fabs(result.squared_errors - squared_errors) <= tolerance * squared_errors);
}

void check_same_result(const Result &a, const Result &b) {
    BOOST_TEST((a.after.codes == b.after.codes));
    BOOST_TEST((a.after.absmax_codes == b.after.absmax_codes));
    check_same(a.after.absmax, b.after.absmax);
    BOOST_TEST(a.not_finite == b.not_finite);
    BOOST_TEST(a.changed == b.changed);
}

void check(const Subject &subject, const Settings &settings, const Case &test) {
    const auto elsewhere = run(subject, settings, test, Where::elsewhere);
    if (!elsewhere) return;
    BOOST_REQUIRE_EQUAL(elsewhere->not_finite, 0u);
    check_result(test, *elsewhere);
    check_same_result(*run(subject, settings, test, Where::in_place), *elsewhere);
}

// With scales that are none of a block's largest magnitude, as a file may have them, and of blocks of zeros.
Case make_case(const Codes &as, std::uint64_t count, std::uint64_t absmax_block, std::uint32_t stride,
               std::int32_t values_type) {
    QuantizedWeight before = make_quantized(as, count, absmax_block, Values::ordinary);
    for (float &absmax : before.absmax) absmax = std::fabs(absmax);
    for (float &absmax : before.absmax_absmax) absmax = std::fabs(absmax);
    for (std::uint64_t block = 5; block < before.absmax.size(); block += 9) before.absmax[block] = 0;
    const std::vector<std::uint32_t> indices = stride == 0 ? std::vector<std::uint32_t>{} : make_mask(count, stride, 6);
    return {before, indices, Tensor(values_type, make_values(indices.size(), Values::ordinary, 8))};
}

const auto implementations = data::make(subjects(SPEFT_OPERATION_REQUANTIZE));
const auto absmax_blocks = data::make({0, 64, 256});  // 0: the scales are not quantized
const auto strides = data::make({0u, 1u, 5u, 2000u});
const auto value_types = data::make({SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_BFLOAT16});

}  // namespace

BOOST_AUTO_TEST_SUITE(requantize)

BOOST_DATA_TEST_CASE(takes_the_nearest_codes_of_touched_blocks,
                     implementations * data::make({1u, 2u, 63u, 64u, 65u, 1025u, 4097u, 40001u}) *
                         data::make(codings_of_weights) * absmax_blocks * strides,
                     subject, length, as, absmax_block, stride) {
    if (length == 1 && stride > 1) return;
    check(subject, one_thread,
          make_case(as, length, static_cast<std::uint64_t>(absmax_block), stride, SPEFT_SCALAR_FLOAT32));
}

BOOST_DATA_TEST_CASE(takes_nothing,
                     implementations * data::make(codings_of_weights) * absmax_blocks, subject, as, absmax_block) {
    check(subject, one_thread, make_case(as, 0, static_cast<std::uint64_t>(absmax_block), 0, SPEFT_SCALAR_FLOAT32));
}

BOOST_DATA_TEST_CASE(takes_values_of_bfloat16,
                     implementations * data::make(codings_of_weights) * absmax_blocks, subject, as, absmax_block) {
    check(subject, one_thread,
          make_case(as, 4097, static_cast<std::uint64_t>(absmax_block), 40, SPEFT_SCALAR_BFLOAT16));
}

// What encoded scales cannot reach: blocks whose weights outgrow all of them, and others that are all but 0.
BOOST_DATA_TEST_CASE(takes_the_nearest_of_encoded_scales, implementations * data::make(codings_of_weights), subject,
                     as) {
    Case test = make_case(as, 70001, 64, 1, SPEFT_SCALAR_FLOAT32);
    for (std::uint64_t j = 0; j < test.indices.size(); ++j) {
        const float weight = test.before.weight(test.indices[j]);
        const std::uint64_t kind = test.indices[j] / 100 % 3;
        test.values.set(j, kind == 0 ? -weight : kind == 1 ? 100 * weight : 0.001f - weight);
    }
    check(subject, one_thread, test);
}

BOOST_DATA_TEST_CASE(takes_zeros_and_denormals,
                     implementations * data::make(codings_of_weights) * data::make({0.0f, -0.0f, 0x1p-140f, -3e-38f}),
                     subject, as, weight) {
    Case test = make_case(as, 4097, 0, 1, SPEFT_SCALAR_FLOAT32);
    for (std::uint64_t j = 0; j < test.indices.size(); ++j)
        test.values.set(j, j % 3 ? -test.before.weight(j) : weight - test.before.weight(j));
    check(subject, one_thread, test);
}

// Without values to add, all codes and scales stay, also of scales that are none of a block's largest magnitude.
BOOST_DATA_TEST_CASE(keeps_codes_where_nothing_is_added, implementations * data::make({0, 64}), subject, absmax_block) {
    Case test = make_case(codings_of_weights[0], 4096, static_cast<std::uint64_t>(absmax_block), 3,
                          SPEFT_SCALAR_FLOAT32);
    for (float &absmax : test.before.absmax) absmax = std::max(absmax, 0.01f);
    test.values = Tensor(SPEFT_SCALAR_FLOAT32, test.indices.size());
    const auto result = run(subject, one_thread, test, Where::in_place);
    if (!result) return;
    BOOST_TEST(result->changed == 0u);
    BOOST_TEST((result->after.codes == test.before.codes));
}

BOOST_DATA_TEST_CASE(writes_nothing_unless_all_is_finite,
                     implementations * data::make(codings_of_weights) * data::make({0, 64}) *
                         data::make({std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(),
                                     std::numeric_limits<float>::max()}),
                     subject, as, absmax_block, value) {
    Case test = make_case(as, 4097, static_cast<std::uint64_t>(absmax_block), 4, SPEFT_SCALAR_FLOAT32);
    test.values.set(test.values.size() / 2, value);
    test.values.set(test.values.size() - 1, value);
    // A scale that is not finite makes weights that are not, in a block that is touched.
    if (value == std::numeric_limits<float>::max()) {
        auto &scales = absmax_block ? test.before.absmax_absmax : test.before.absmax;
        scales.back() = std::numeric_limits<float>::infinity();
    }
    std::uint64_t not_finite = 0;
    const std::vector<float> weights = test.weights();
    const std::vector<bool> touched = test.touched();
    for (std::uint64_t j = 0; j < weights.size(); ++j)
        not_finite += touched[j / as.block] && !std::isfinite(weights[j]);
    BOOST_REQUIRE(not_finite > 0);
    const auto result = run(subject, one_thread, test, Where::in_place);
    if (!result) return;
    BOOST_TEST(result->not_finite == not_finite);
    BOOST_TEST((result->after.codes == test.before.codes));
    BOOST_TEST((result->after.absmax_codes == test.before.absmax_codes));
    check_same(result->after.absmax, test.before.absmax);
    BOOST_TEST(result->changed == 77u);
    BOOST_TEST(result->squares == 77);
    BOOST_TEST(result->squared_errors == 77);
}

// Nobody looks at a block that nothing is added to.
BOOST_DATA_TEST_CASE(leaves_other_blocks_alone_that_are_not_finite, implementations, subject) {
    Case test = make_case(codings_of_weights[0], 4096, 0, 0, SPEFT_SCALAR_FLOAT32);
    test.indices = {130, 4000};
    test.values = Tensor(SPEFT_SCALAR_FLOAT32, std::vector<float>{0.5f, -0.25f});
    test.before.absmax[0] = test.before.absmax[30] = std::numeric_limits<float>::quiet_NaN();
    check(subject, one_thread, test);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     implementations * data::make(other_settings) * data::make(codings_of_weights) *
                         data::make({0, 64}) * value_types,
                     subject, settings, as, absmax_block, type) {
    const Case test = make_case(as, 70001, static_cast<std::uint64_t>(absmax_block), 30, type);
    const auto expected = run(subject, one_thread, test, Where::elsewhere);
    const auto actual = run(subject, settings, test, Where::in_place);
    if (!expected) return;
    check_same_result(*actual, *expected);
    BOOST_TEST(actual->squares == expected->squares);
    BOOST_TEST(actual->squared_errors == expected->squared_errors);
}

BOOST_AUTO_TEST_SUITE_END()
