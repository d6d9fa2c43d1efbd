// capture, compare, merge, unmerge.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

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

BOOST_DATA_TEST_CASE(merge_adds_the_deltas,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    std::vector<HostSegment> host = make_segments(length, type, values, masked, deltas);
    Device device(*subject.table);
    const DeviceSegments placed(device, host);
    const speft_merge_segments arguments = {.segments = placed.views.data(), .count = placed.views.size()};
    if (!device.run(subject, &arguments)) return;
    for (std::uint64_t s = 0; s < host.size(); ++s) {
        HostSegment &segment = host[s];
        segment.merge();
        const Tensor weights = placed.segments[s]->weights.read();
        check_same(weights, segment.weights);
        std::uint64_t changed = 0;  // without a delta
        for (std::uint64_t j = 0; j < segment.count(); ++j)
            changed += !segment.absolute && segment.deltas.get(j) == 0.0f &&
                       weights.get_bits(segment.place(j)) != segment.originals.get_bits(j);
        BOOST_TEST(changed == 0u);
    }
}

BOOST_DATA_TEST_CASE(unmerge_restores_the_bits,
                     data::make(subjects(SPEFT_OPERATION_UNMERGE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not,
                     subject, length, type, values, masked) {
    std::vector<HostSegment> host = make_segments(length, type, values, masked, Deltas::float32);
    const std::vector<HostSegment> expected = host;
    for (HostSegment &segment : host) segment.merge();
    Device device(*subject.table);
    const DeviceSegments placed(device, host);
    const speft_unmerge_segments arguments = {.segments = placed.views.data(), .count = placed.views.size()};
    if (!device.run(subject, &arguments)) return;
    for (std::uint64_t s = 0; s < host.size(); ++s)
        check_bits(placed.segments[s]->weights.read(), expected[s].weights);
}

namespace {

std::optional<std::vector<std::uint64_t>> run_compare(const Subject &subject, const Settings &settings,
                                                      const std::vector<HostSegment> &host) {
    Device device(*subject.table, settings);
    const DeviceSegments placed(device, host);
    std::vector<std::uint64_t> differing(host.size(), 0xdeadbeefu);
    const speft_compare arguments = {
        .segments = placed.views.data(), .count = placed.views.size(), .differing = differing.data()};
    if (!device.run(subject, &arguments)) return {};
    return differing;
}

}  // namespace

BOOST_DATA_TEST_CASE(compare_counts_what_changed,
                     data::make(subjects(SPEFT_OPERATION_COMPARE)) * data::make(lengths) * types_and_kinds *
                         masked_or_not * data::make(kinds_of_deltas),
                     subject, length, type, values, masked, deltas) {
    std::vector<HostSegment> host = make_segments(length, type, values, masked, deltas);
    for (HostSegment &segment : host) segment.merge();
    const std::vector<std::uint64_t> none(host.size());
    if (const auto differing = run_compare(subject, one_thread, host)) BOOST_TEST((*differing == none));

    // The lowest bit of every fifth selected weight that is a number, and of one that is not selected.
    std::vector<std::uint64_t> expected(host.size());
    for (std::uint64_t s = 0; s < host.size(); ++s) {
        HostSegment &segment = host[s];
        for (std::uint64_t j = 0; j < segment.count(); j += 5) {
            const std::uint64_t place = segment.place(j);
            if (std::isnan(segment.weights.get(place))) continue;
            segment.weights.set_bits(place, segment.weights.get_bits(place) ^ 1u);
            ++expected[s];
        }
        for (std::uint64_t i = 1; segment.masked && i < segment.weights.size(); ++i)
            if (!std::binary_search(segment.indices.begin(), segment.indices.end(), i)) {
                segment.weights.set_bits(i, segment.weights.get_bits(i) ^ 1u);
                break;
            }
    }
    if (const auto differing = run_compare(subject, one_thread, host)) BOOST_TEST((*differing == expected));
}

BOOST_DATA_TEST_CASE(compare_takes_any_nan_for_any_other, data::make(subjects(SPEFT_OPERATION_COMPARE)), subject) {
    HostSegment segment = make_segment(2, SPEFT_SCALAR_BFLOAT16, Values::equal, false, Deltas::float32, 1);
    segment.deltas = Tensor(SPEFT_SCALAR_FLOAT32, {1.0f, 0.0f});
    for (const std::uint64_t j : {0, 1}) {
        segment.originals.set_bits(j, 0x7fc1u);
        segment.weights.set_bits(j, 0xffc7u);
    }
    if (const auto differing = run_compare(subject, one_thread, {segment})) BOOST_TEST(differing->front() == 0u);
}

BOOST_DATA_TEST_CASE(compare_does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_COMPARE)) * data::make(other_settings), subject, settings) {
    const std::vector<HostSegment> host =
        make_segments(70001, SPEFT_SCALAR_FLOAT32, Values::special, true, Deltas::float32);
    const auto expected = run_compare(subject, one_thread, host);
    if (!expected) return;
    BOOST_TEST((*expected)[1] > 0u);  // unmerged
    BOOST_TEST((*run_compare(subject, settings, host) == *expected));
}

BOOST_DATA_TEST_CASE(merge_does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_MERGE)) * data::make(other_settings), subject, settings) {
    HostSegment host = make_segment(70001, SPEFT_SCALAR_FLOAT32, Values::special, true, Deltas::float32, 1);
    Device device(*subject.table, settings);
    const DeviceSegments placed(device, {host});
    const speft_merge_segments arguments = {.segments = placed.views.data(), .count = 1};
    if (!device.run(subject, &arguments)) return;
    host.merge();
    check_same(placed.segments[0]->weights.read(), host.weights);
}

BOOST_AUTO_TEST_SUITE_END()
