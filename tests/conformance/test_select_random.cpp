#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "core/base/random.h"
#include "tests/conformance/values.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Draw {
    std::uint64_t size, k;
    friend std::ostream &operator<<(std::ostream &out, const Draw &draw) {
        return out << draw.k << " of " << draw.size;
    }
};

const std::vector<Draw> draws = {{0, 0},           {1, 0},            {1, 1},          {2, 1},
                                 {10, 10},         {255, 17},         {256, 256},      {257, 100},
                                 {2048, 2000},     {2049, 2049},      {70001, 1},      {70001, 16385},
                                 {70001, 70001},   {1000003, 300000}, {1u << 22, 5000}, {(1u << 22) + 1, 5000},
                                 {0xffffffffu, 3000}};

// A probability as the threshold of a 64-bit draw.
std::uint64_t make_threshold(double probability) {
    return static_cast<std::uint64_t>(std::ldexp(probability, 64));
}

std::optional<std::vector<std::uint32_t>> run(const Subject &subject, const Settings &settings, std::uint64_t key,
                                              Draw draw, std::uint64_t threshold = 0) {
    Device device(*subject.table, settings);
    std::uint64_t count = 0;
    speft_select_random arguments = {.key = key,
                                     .size = draw.size,
                                     .rows = 1,
                                     .k = draw.k,
                                     .threshold = threshold,
                                     .indices = nullptr,
                                     .count = &count};
    if (!device.run(subject, &arguments)) return {};
    const std::uint64_t counted = count;
    const DeviceArray<std::uint32_t> indices(device, std::vector<std::uint32_t>(counted));
    arguments.indices = indices.data();
    arguments.k = counted;
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST(count == counted);
    return indices.read();
}

std::vector<std::uint32_t> permute_and_sort(std::uint64_t key, Draw draw) {
    std::vector<std::uint32_t> indices;
    if (draw.k > 0) {
        const speft::Permutation permute(key, draw.size);
        for (std::uint64_t j = 0; j < draw.k; ++j) indices.push_back(permute(static_cast<std::uint32_t>(j)));
    }
    std::sort(indices.begin(), indices.end());
    return indices;
}

void check_rising_below(const std::vector<std::uint32_t> &indices, std::uint64_t size) {
    for (std::uint64_t j = 0; j < indices.size(); ++j)
        BOOST_REQUIRE(indices[j] < size && (j == 0 || indices[j - 1] < indices[j]));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(select_random)

BOOST_DATA_TEST_CASE(exact_masks_are_the_permutation,
                     data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)) * data::make(draws), subject, draw) {
    const auto indices = run(subject, one_thread, 42, draw);
    if (!indices) return;
    BOOST_TEST(indices->size() == draw.k);
    check_rising_below(*indices, draw.size);
    BOOST_TEST((*indices == permute_and_sort(42, draw)));
}

BOOST_DATA_TEST_CASE(bernoulli_masks_are_the_draws_below_the_threshold,
                     data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)) *
                         data::make({0, 1, 2, 16383, 16384, 16385, 70001}) * data::make({1e-18, 0.005, 0.5, 0.9999}),
                     subject, size, probability) {
    const std::uint64_t threshold = make_threshold(probability);
    const auto indices = run(subject, one_thread, 42, {static_cast<std::uint64_t>(size), 0}, threshold);
    if (!indices) return;
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(size); ++i)
        if (speft::draw64(42, i) < threshold) expected.push_back(i);
    BOOST_TEST((*indices == expected));
    // Five standard deviations of a binomial count.
    const double mean = probability * size, deviation = std::sqrt(mean * (1 - probability));
    BOOST_TEST(std::fabs(static_cast<double>(indices->size()) - mean) <= 5 * deviation + 1e-9);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)) * data::make(other_settings) *
                         data::make({0.0, 0.3}),
                     subject, settings, probability) {
    const Draw draw = {200003, 70001};
    const auto expected = run(subject, one_thread, 7, draw, make_threshold(probability));
    if (expected) BOOST_TEST((*run(subject, settings, 7, draw, make_threshold(probability)) == *expected));
}

// Too many for the room there is: the count is told, and nothing is written.
BOOST_DATA_TEST_CASE(refuses_more_than_there_is_room_for, data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)),
                     subject) {
    Device device(*subject.table);
    const std::vector<std::uint32_t> untouched(100, 0xdeadbeefu);
    const DeviceArray<std::uint32_t> indices(device, untouched);
    std::uint64_t count = 0;
    const speft_select_random arguments = {.key = 42,
                                           .size = 70001,
                                           .rows = 1,
                                           .k = untouched.size(),
                                           .threshold = make_threshold(0.5),
                                           .indices = indices.data(),
                                           .count = &count};
    if (subject.implementation->refuse(device.handle(), &arguments)) return;
    std::string message;
    BOOST_TEST(device.run_failing(subject, &arguments, message) == SPEFT_INVALID_ARGUMENT);
    BOOST_TEST(message.find("has room for 100 of " + std::to_string(count)) != std::string::npos, message);
    BOOST_TEST((indices.read() == untouched));
}

struct Rows {
    std::uint64_t size, rows, k;
    friend std::ostream &operator<<(std::ostream &out, const Rows &shape) {
        return out << shape.k << " of " << shape.size << ", " << shape.rows << " times";
    }
};

const std::vector<Rows> shapes = {{1, 3, 1}, {5, 4, 0}, {33, 7, 33}, {384, 100, 4}, {70001, 3, 20000}};

// Each row as if it were drawn alone, with a key of its own.
BOOST_DATA_TEST_CASE(rows_are_drawn_by_themselves,
                     data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)) * data::make(shapes) *
                         data::make({1, 3}),
                     subject, shape, threads) {
    Device device(*subject.table, {"", threads});
    const DeviceArray<std::uint32_t> indices(device, std::vector<std::uint32_t>(shape.rows * shape.k));
    std::uint64_t count = 0;
    const speft_select_random arguments = {.key = 42,
                                           .size = shape.size,
                                           .rows = shape.rows,
                                           .k = shape.k,
                                           .threshold = 0,
                                           .indices = indices.data(),
                                           .count = &count};
    if (!device.run(subject, &arguments)) return;
    BOOST_TEST(count == shape.rows * shape.k);
    std::vector<std::uint32_t> expected;
    for (std::uint64_t row = 0; row < shape.rows; ++row)
        for (const std::uint32_t index : permute_and_sort(speft::draw64(42, row), {shape.size, shape.k}))
            expected.push_back(static_cast<std::uint32_t>(row * shape.size + index));
    BOOST_TEST((indices.read() == expected));
}

// Which places are taken, over 400 seeds: each as often as any other, neighbours independently, and two keys share
// no more than chance gives. The limits are those that chance passes once in 10^6 times; the seeds are fixed.
BOOST_DATA_TEST_CASE(exact_masks_are_uniform, data::make(subjects(SPEFT_OPERATION_SELECT_RANDOM)), subject) {
    constexpr Draw draw = {1000, 100};
    constexpr int seeds = 400, bins = 100;
    std::vector<double> taken(bins);
    double adjacent = 0, shared = 0;
    std::vector<std::uint32_t> previous;
    for (int seed = 0; seed < seeds; ++seed) {
        const auto mask = run(subject, one_thread, speft::make_key(static_cast<std::uint64_t>(seed), "w"), draw);
        if (!mask) return;
        for (std::uint64_t j = 0; j < mask->size(); ++j) {
            taken[(*mask)[j] * bins / draw.size] += 1;
            adjacent += j > 0 && (*mask)[j] == (*mask)[j - 1] + 1;
        }
        std::vector<std::uint32_t> common;
        std::set_intersection(mask->begin(), mask->end(), previous.begin(), previous.end(),
                              std::back_inserter(common));
        shared += static_cast<double>(common.size());
        previous = *mask;
    }

    const double expected = static_cast<double>(seeds) * draw.k / bins;
    double chi_square = 0;
    for (const double count : taken) chi_square += (count - expected) * (count - expected) / expected;
    // Drawing without replacement shrinks the variance by (N−k)/(N−1). 99 degrees of freedom: 178.
    chi_square *= static_cast<double>(draw.size - 1) / (draw.size - draw.k);
    BOOST_TEST(chi_square < 178);
    BOOST_TEST(chi_square > 44);  // nor more even than chance

    // A pair of places is taken with probability k(k−1)/(N(N−1)); counts of rare events deviate by their root.
    const double pairs = static_cast<double>(seeds) * (draw.size - 1) * draw.k * (draw.k - 1) /
                         (static_cast<double>(draw.size) * (draw.size - 1));
    BOOST_TEST(std::fabs(adjacent - pairs) < 5 * std::sqrt(pairs));
    const double common_mean = static_cast<double>(seeds - 1) * draw.k * draw.k / draw.size;
    BOOST_TEST(std::fabs(shared - common_mean) < 5 * std::sqrt(common_mean));
}

BOOST_AUTO_TEST_CASE(permutations_are_bijections_with_an_inverse) {
    for (std::uint64_t size = 1; size < 600; ++size) {
        const speft::Permutation permute(size, size);
        std::vector<bool> hit(size);
        for (std::uint32_t i = 0; i < size; ++i) {
            const std::uint32_t image = permute(i);
            BOOST_REQUIRE(image < size && !hit[image]);
            hit[image] = true;
            BOOST_REQUIRE_EQUAL(permute.inverse(image), i);
        }
    }
    const speft::Permutation permute(3, 0xffffffffu);
    for (std::uint32_t i = 0; i < 4294000000u; i += 4294967u) BOOST_REQUIRE_EQUAL(permute.inverse(permute(i)), i);
}

BOOST_AUTO_TEST_SUITE_END()
