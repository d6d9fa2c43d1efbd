// capture, merge, unmerge.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "tests/conformance/segments.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// A list of one long segment among short and empty ones.
std::vector<HostSegment> make_segments(std::uint64_t length, std::int32_t type, Values values, bool masked,
                                       Deltas deltas) {
    return {make_segment(9, SPEFT_SCALAR_FLOAT32, values, true, Deltas::float32, 11),
            make_segment(length, type, values, masked, deltas, 21),
            make_segment(0, type, values, false, deltas, 31),
            make_segment(33, SPEFT_SCALAR_FLOAT16, values, false, Deltas::absolute, 41)};
}

void check_bits(const Tensor &actual, const Tensor &expected) { BOOST_REQUIRE((actual == expected)); }

const auto types_and_kinds = data::make(scalar_types) * data::make(kinds_of_values);
const auto masked_or_not = data::make({false, true});

}  // namespace

BOOST_AUTO_TEST_SUITE(segments)

BOOST_DATA_TEST_CASE(capture_takes_the_bits,
                     data::make(subjects(SPEFT_OPERATION_CAPTURE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not,
                     subject, length, type, values, masked) {
    std::vector<HostSegment> host = make_segments(length, type, values, masked, Deltas::float32);
    const std::vector<HostSegment> expected = host;
    for (HostSegment &segment : host) segment.originals = Tensor(segment.originals.type(), segment.count());
    Device device(*subject.table);
    const DeviceSegments placed(device, host);
    const speft_capture arguments = {.segments = placed.views.data(), .count = placed.views.size()};
    if (!device.run(subject, &arguments)) return;
    for (std::uint64_t s = 0; s < host.size(); ++s) {
        check_bits(placed.segments[s]->originals.read(), expected[s].originals);
        check_bits(placed.segments[s]->weights.read(), expected[s].weights);
    }
}

namespace {

// What merging or unmerging makes of the segments: the weights and the counts.
template <class Arguments>
struct Exchange {
    std::vector<HostSegment> host;
    std::vector<std::uint64_t> differing{};
    std::vector<Tensor> weights{};

    // False when the implementation does not take this case.
    bool run(const Subject &subject, const Settings &settings = one_thread) {
        Device device(*subject.table, settings);
        const DeviceSegments placed(device, host);
        differing.assign(host.size(), 0xdeadbeefu);
        const Arguments arguments = {
            .segments = placed.views.data(), .count = placed.views.size(), .differing = differing.data()};
        if (!device.run(subject, &arguments)) return false;
        weights.clear();
        for (const auto &segment : placed.segments) weights.push_back(segment->weights.read());
        return true;
    }
};

using Merge = Exchange<speft_merge_segments>;
using Unmerge = Exchange<speft_unmerge_segments>;

// Changes the lowest bit of every fifth trained weight that is a number, and says how many those are.
std::uint64_t disturb(HostSegment &segment) {
    std::uint64_t disturbed = 0;
    for (std::uint64_t j = 0; j < segment.count(); j += 5) {
        const std::uint64_t place = segment.place(j);
        const std::uint32_t bits = segment.weights.get_bits(place) ^ 1u;
        if (std::isnan(segment.weights.get(place)) || bits == segment.originals.get_bits(j) ||
            bits == segment.merged(j).get_bits(0))
            continue;
        segment.weights.set_bits(place, bits);
        disturbed += !std::isnan(segment.weights.get(place)) || !std::isnan(segment.merged(j).get(0));
    }
    return disturbed;
}

// Also a weight that is not trained, which is nobody's business.
void disturb_the_rest(HostSegment &segment) {
    for (std::uint64_t i = 1; segment.masked && !segment.compact && i < segment.weights.size(); ++i)
        if (!std::binary_search(segment.indices.begin(), segment.indices.end(), i)) {
            segment.weights.set_bits(i, segment.weights.get_bits(i) ^ 1u);
            return;
        }
}

void check_none(const std::vector<std::uint64_t> &differing) {
    BOOST_TEST(differing == std::vector<std::uint64_t>(differing.size()), boost::test_tools::per_element());
}

}  // namespace

BOOST_DATA_TEST_CASE(merge_adds_the_deltas,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    Merge merge{make_segments(length, type, values, masked, deltas)};
    for (HostSegment &segment : merge.host) disturb_the_rest(segment);
    if (!merge.run(subject)) return;
    check_none(merge.differing);
    for (std::uint64_t s = 0; s < merge.host.size(); ++s) {
        HostSegment &segment = merge.host[s];
        segment.merge();
        check_same(merge.weights[s], segment.weights);
        std::uint64_t changed = 0;  // without a delta
        for (std::uint64_t j = 0; j < segment.count(); ++j)
            changed += !segment.absolute && segment.deltas.get(j) == 0.0f &&
                       merge.weights[s].get_bits(segment.place(j)) != segment.originals.get_bits(j);
        BOOST_TEST(changed == 0u);
    }
}

BOOST_DATA_TEST_CASE(merge_takes_weights_that_are_merged_already,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * types_and_kinds * data::make(kinds_of_deltas),
                     subject, type, values, deltas) {
    Merge merge{make_segments(1025, type, values, true, deltas)};
    merge.host[1].merge();
    const Tensor merged = merge.host[1].weights;
    if (!merge.run(subject)) return;
    check_none(merge.differing);
    check_bits(merge.weights[1], merged);
}

BOOST_DATA_TEST_CASE(merge_leaves_all_as_it_was_where_weights_are_neither,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    Merge merge{make_segments(length, type, values, masked, deltas)};
    const std::uint64_t disturbed = disturb(merge.host[1]);
    if (disturbed == 0 || !merge.run(subject)) return;
    for (std::uint64_t s = 0; s < merge.host.size(); ++s) {
        BOOST_TEST(merge.differing[s] == (s == 1 ? disturbed : 0));
        check_bits(merge.weights[s], merge.host[s].weights);
    }
}

BOOST_DATA_TEST_CASE(unmerge_restores_the_bits,
                     data::make(subjects(SPEFT_OPERATION_UNMERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    Unmerge unmerge{make_segments(length, type, values, masked, deltas)};
    const std::vector<HostSegment> expected = unmerge.host;
    for (HostSegment &segment : unmerge.host) segment.merge();
    if (!unmerge.run(subject)) return;
    check_none(unmerge.differing);
    for (std::uint64_t s = 0; s < expected.size(); ++s) check_bits(unmerge.weights[s], expected[s].weights);
}

BOOST_DATA_TEST_CASE(unmerge_leaves_all_as_it_was_where_weights_are_others,
                     data::make(subjects(SPEFT_OPERATION_UNMERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    Unmerge unmerge{make_segments(length, type, values, masked, deltas)};
    for (HostSegment &segment : unmerge.host) segment.merge();
    const std::uint64_t disturbed = disturb(unmerge.host[1]);
    if (disturbed == 0 || !unmerge.run(subject)) return;
    for (std::uint64_t s = 0; s < unmerge.host.size(); ++s) {
        BOOST_TEST(unmerge.differing[s] == (s == 1 ? disturbed : 0));
        check_same(unmerge.weights[s], unmerge.host[s].weights);
    }
}

BOOST_DATA_TEST_CASE(unmerge_takes_any_nan_for_any_other, data::make(subjects(SPEFT_OPERATION_UNMERGE)), subject) {
    HostSegment segment = make_segment(2, SPEFT_SCALAR_BFLOAT16, Values::equal, false, Deltas::float32, 1);
    segment.deltas = Tensor(SPEFT_SCALAR_FLOAT32, {1.0f, 0.0f});
    for (const std::uint64_t j : {0, 1}) {
        segment.originals.set_bits(j, 0x7fc1u);
        segment.weights.set_bits(j, 0xffc7u);
    }
    Unmerge unmerge{{segment}};
    if (!unmerge.run(subject)) return;
    check_none(unmerge.differing);
    for (const std::uint64_t j : {0, 1}) BOOST_TEST(unmerge.weights[0].get_bits(j) == 0x7fc1u);
}

BOOST_DATA_TEST_CASE(merge_does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * data::make(other_settings) *
                         data::make({false, true}),
                     subject, settings, disturbed) {
    Merge merge{make_segments(70001, SPEFT_SCALAR_FLOAT32, Values::special, true, Deltas::float32)};
    const std::uint64_t expected = disturbed ? disturb(merge.host[1]) : 0;
    if (!merge.run(subject, settings)) return;
    BOOST_TEST(merge.differing[1] == expected);
    if (!disturbed) merge.host[1].merge();
    check_same(merge.weights[1], merge.host[1].weights);
}

BOOST_DATA_TEST_CASE(unmerge_does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_UNMERGE)) * data::make(other_settings) *
                         data::make({false, true}),
                     subject, settings, disturbed) {
    Unmerge unmerge{make_segments(70001, SPEFT_SCALAR_FLOAT32, Values::special, true, Deltas::float32)};
    const Tensor original = unmerge.host[1].weights;
    for (HostSegment &segment : unmerge.host) segment.merge();
    const std::uint64_t expected = disturbed ? disturb(unmerge.host[1]) : 0;
    if (!unmerge.run(subject, settings)) return;
    BOOST_TEST(unmerge.differing[1] == expected);
    check_same(unmerge.weights[1], disturbed ? unmerge.host[1].weights : original);
}

BOOST_AUTO_TEST_SUITE_END()
