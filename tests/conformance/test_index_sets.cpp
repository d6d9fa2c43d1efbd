// Where sorted lists of indices have each other's members, what they are together, and taking by such places.
#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <iterator>
#include <optional>

#include "tests/conformance/values.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

using Indices = std::vector<std::uint32_t>;

constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t untouched = 0xdeadbeefu;

// Two lists, in any order of their lengths.
struct Pair {
    const char *name;
    Indices first;
    Indices second;
    friend std::ostream &operator<<(std::ostream &out, const Pair &pair) { return out << pair.name; }
};

Indices shift(Indices indices, std::uint32_t distance) {
    for (std::uint32_t &index : indices) index += distance;
    return indices;
}

// From `size` below the largest index there is.
Indices make_highest(std::uint32_t size, std::uint32_t stride, std::uint32_t seed) {
    return shift(make_mask(size, stride, seed), none - size);
}

const std::vector<Pair> pairs = {
    {"both empty", {}, {}},
    {"empty and one", {}, {5}},
    {"one and empty", {0}, {}},
    {"empty and many", {}, make_mask(50000, 2, 1)},
    {"one and the same", {7}, {7}},
    {"one and the next", {7}, {8}},
    {"one and the one before", {8}, {7}},
    {"one among many", {20001}, make_mask(50000, 2, 1)},
    {"many around one", make_mask(50000, 2, 1), {20001}},
    {"many and the same", make_mask(100000, 2, 1), make_mask(100000, 2, 1)},
    {"many and others", make_mask(100000, 2, 1), make_mask(100000, 2, 2)},
    {"few and many", make_mask(300000, 5000, 1), make_mask(300000, 2, 2)},
    {"many and few", make_mask(300000, 2, 1), make_mask(300000, 5000, 2)},
    {"all and a part", make_mask(40000, 1, 1), make_mask(40000, 3, 2)},
    {"a part and all", make_mask(40000, 3, 2), make_mask(40000, 1, 1)},
    {"low and high", make_mask(40000, 1, 1), make_highest(40000, 1, 1)},
    {"high and low", make_highest(40000, 1, 1), make_mask(40000, 1, 1)},
    {"high ones", make_highest(90000, 2, 1), make_highest(90000, 3, 2)},
    {"within a gap", make_mask(20000, 1, 1), shift(make_mask(20000, 3, 1), 20000)},
};

// Nothing of an empty list may be read: it has no address.
const std::uint32_t *address_of(const DeviceArray<std::uint32_t> &array, const Indices &indices) {
    return indices.empty() ? nullptr : array.data();
}

// ---- find_indices ----

Indices find_truth(const Pair &pair, std::uint32_t base) {
    Indices positions;
    for (const std::uint32_t index : pair.second) {
        const auto place = std::find(pair.first.begin(), pair.first.end(), index);
        positions.push_back(place == pair.first.end() ? none
                                                      : base + static_cast<std::uint32_t>(place - pair.first.begin()));
    }
    return positions;
}

std::optional<Indices> run_find(const Subject &subject, const Settings &settings, const Pair &pair,
                                std::uint32_t base) {
    Device device(*subject.table, settings);
    const DeviceArray<std::uint32_t> sorted(device, pair.first), wanted(device, pair.second),
        positions(device, Indices(pair.second.size(), untouched));
    const speft_find_indices arguments = {.sorted = address_of(sorted, pair.first),
                                          .wanted = address_of(wanted, pair.second),
                                          .positions = pair.second.empty() ? nullptr : positions.data(),
                                          .sorted_count = pair.first.size(),
                                          .wanted_count = pair.second.size(),
                                          .base = base,
                                          .reserved = 0};
    if (!device.run(subject, &arguments)) return {};
    return positions.read();
}

// ---- combine_indices ----

Indices combine_truth(const Pair &pair, std::int32_t combination) {
    Indices combined;
    if (combination == SPEFT_COMBINE_UNION)
        std::set_union(pair.first.begin(), pair.first.end(), pair.second.begin(), pair.second.end(),
                       std::back_inserter(combined));
    else
        std::set_difference(pair.first.begin(), pair.first.end(), pair.second.begin(), pair.second.end(),
                            std::back_inserter(combined));
    return combined;
}

std::optional<Indices> run_combine(const Subject &subject, const Settings &settings, const Pair &pair,
                                   std::int32_t combination) {
    Device device(*subject.table, settings);
    const std::uint64_t room =
        pair.first.size() + (combination == SPEFT_COMBINE_UNION ? pair.second.size() : 0);
    const DeviceArray<std::uint32_t> first(device, pair.first), second(device, pair.second),
        indices(device, Indices(room, untouched));
    std::uint64_t count = untouched;
    const speft_combine_indices arguments = {.first = address_of(first, pair.first),
                                             .second = address_of(second, pair.second),
                                             .first_count = pair.first.size(),
                                             .second_count = pair.second.size(),
                                             .indices = room == 0 ? nullptr : indices.data(),
                                             .count = &count,
                                             .combination = combination,
                                             .reserved = 0};
    if (!device.run(subject, &arguments)) return {};
    Indices combined = indices.read();
    BOOST_TEST_REQUIRE(count <= combined.size());
    combined.resize(count);
    return combined;
}

// ---- take ----

struct Taking {
    Tensor target;
    Tensor source;
    Indices positions;
};

// Of the positions some are none, some come twice, and some come before smaller ones.
Taking make_taking(std::uint64_t count, std::uint64_t source_count, std::int32_t type) {
    std::mt19937 random(static_cast<std::uint32_t>(count));
    Taking taking{Tensor(type, make_values(count, Values::special, 1)),
                  Tensor(type, make_values(source_count, Values::special, 2)), Indices(count)};
    for (std::uint32_t &position : taking.positions)
        position = source_count == 0 || random() % 4 == 0 ? none
                                                          : static_cast<std::uint32_t>(random() % source_count);
    return taking;
}

Tensor take_truth(const Taking &taking) {
    Tensor target = taking.target;
    for (std::uint64_t j = 0; j < taking.positions.size(); ++j)
        if (taking.positions[j] != none) target.set_bits(j, taking.source.get_bits(taking.positions[j]));
    return target;
}

std::optional<Tensor> run_take(const Subject &subject, const Settings &settings, const Taking &taking,
                               std::uint64_t columns = 1) {
    Device device(*subject.table, settings);
    const DeviceTensor target(device, taking.target), source(device, taking.source);
    const DeviceArray<std::uint32_t> positions(device, taking.positions);
    const speft_take arguments = {.target = taking.positions.empty() ? nullptr : target.data(),
                                  .source = taking.source.size() == 0 ? nullptr : source.data(),
                                  .positions = address_of(positions, taking.positions),
                                  .count = taking.positions.size(),
                                  .element_bytes = columns * Tensor::width(taking.target.type())};
    if (!device.run(subject, &arguments)) return {};
    BOOST_TEST((source.read() == taking.source));
    return target.read();
}

const Pair &large_pair() {
    static const Pair pair{"", make_mask(400000, 2, 1), make_mask(400000, 3, 2)};
    return pair;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(find_indices)

// The truth looks at every member for every other: shorter lists, but for those of few.
BOOST_DATA_TEST_CASE(matches, data::make(subjects(SPEFT_OPERATION_FIND_INDICES)) * data::make(pairs), subject, pair) {
    Pair shorter = pair;
    if (shorter.first.size() > 2000 && shorter.second.size() > 2000) {
        shorter.first.resize(2000);
        shorter.second.resize(3000);
    }
    for (const std::uint32_t base : {0u, 1000u})
        if (const auto positions = run_find(subject, one_thread, shorter, base))
            BOOST_TEST((*positions == find_truth(shorter, base)));
}

// Both lists are of several pieces. An index is at the place that it says.
BOOST_DATA_TEST_CASE(places_every_index_in_all_settings,
                     data::make(subjects(SPEFT_OPERATION_FIND_INDICES)) * data::make(other_settings) *
                         data::make(pairs),
                     subject, settings, pair) {
    const auto positions = run_find(subject, settings, pair, 0);
    if (!positions) return;
    std::uint64_t found = 0;
    for (std::uint64_t j = 0; j < positions->size(); ++j) {
        const std::uint32_t position = (*positions)[j];
        if (position == none) continue;
        BOOST_TEST_REQUIRE(position < pair.first.size());
        BOOST_TEST_REQUIRE(pair.first[position] == pair.second[j]);
        ++found;
    }
    BOOST_TEST(found == pair.first.size() - combine_truth(pair, SPEFT_COMBINE_DIFFERENCE).size());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(combine_indices)

BOOST_DATA_TEST_CASE(matches,
                     data::make(subjects(SPEFT_OPERATION_COMBINE_INDICES)) * data::make(pairs) *
                         data::make({SPEFT_COMBINE_UNION, SPEFT_COMBINE_DIFFERENCE}),
                     subject, pair, combination) {
    if (const auto combined = run_combine(subject, one_thread, pair, combination))
        BOOST_TEST((*combined == combine_truth(pair, combination)));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_COMBINE_INDICES)) * data::make(other_settings) *
                         data::make({SPEFT_COMBINE_UNION, SPEFT_COMBINE_DIFFERENCE}),
                     subject, settings, combination) {
    if (const auto combined = run_combine(subject, settings, large_pair(), combination))
        BOOST_TEST((*combined == combine_truth(large_pair(), combination)));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(take)

BOOST_DATA_TEST_CASE(matches,
                     data::make(subjects(SPEFT_OPERATION_TAKE)) * data::make(lengths) * data::make({0, 1, 5000}) *
                         data::make({SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_BFLOAT16}),
                     subject, length, source_count, type) {
    const Taking taking = make_taking(length, static_cast<std::uint64_t>(source_count), type);
    if (const auto target = run_take(subject, one_thread, taking)) BOOST_TEST((*target == take_truth(taking)));
}

// An element may be a row of a matrix: as if each of its scalars had been asked for.
BOOST_DATA_TEST_CASE(takes_rows, data::make(subjects(SPEFT_OPERATION_TAKE)) * data::make({3, 64, 1000}), subject,
                     columns) {
    const auto width = static_cast<std::uint64_t>(columns);
    Taking scalars = make_taking(40, 30, SPEFT_SCALAR_BFLOAT16);
    const Indices rows = scalars.positions;
    scalars.target = Tensor(SPEFT_SCALAR_BFLOAT16, make_values(40 * width, Values::special, 1));
    scalars.source = Tensor(SPEFT_SCALAR_BFLOAT16, make_values(30 * width, Values::special, 2));
    scalars.positions.clear();
    for (const std::uint32_t row : rows)
        for (std::uint64_t column = 0; column < width; ++column)
            scalars.positions.push_back(row == none ? none : static_cast<std::uint32_t>(row * width + column));
    Taking by_row = scalars;
    by_row.positions = rows;
    if (const auto target = run_take(subject, one_thread, by_row, width)) BOOST_TEST((*target == take_truth(scalars)));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_TAKE)) * data::make(other_settings) *
                         data::make({SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_BFLOAT16}),
                     subject, settings, type) {
    const Taking taking = make_taking(70001, 100000, type);
    if (const auto target = run_take(subject, settings, taking)) BOOST_TEST((*target == take_truth(taking)));
}

BOOST_AUTO_TEST_SUITE_END()
