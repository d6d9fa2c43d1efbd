#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/segments.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Answer {
    std::vector<double> total, lost;
    bool operator==(const Answer &) const = default;
};

std::optional<Answer> run(const Subject &subject, const Settings &settings, const std::vector<HostSegment> &host) {
    Device device(*subject.table, settings);
    const DeviceSegments placed(device, host);
    Answer answer = {std::vector<double>(host.size(), 0xdeadbeef), std::vector<double>(host.size(), 0xdeadbeef)};
    const speft_measure_rounding arguments = {.segments = placed.views.data(),
                                              .count = placed.views.size(),
                                              .total = answer.total.data(),
                                              .lost = answer.lost.data()};
    if (!device.run(subject, &arguments)) return {};
    return answer;
}

// Values are multiples of 2^-30 below 2, and so is what rounding makes of them: float64 holds each difference, and
// each sum of fewer than 2^20, exactly and in any order.
Answer measure(const std::vector<HostSegment> &host) {
    Answer answer;
    for (const HostSegment &segment : host) {
        double total = 0, lost = 0;
        for (std::uint64_t j = 0; j < segment.count(); ++j) {
            const double delta = segment.deltas.get(j), before = segment.originals.get(j);
            total += std::fabs(delta);
            lost += std::fabs(delta - (segment.merged(j).get(0) - before));
        }
        answer.total.push_back(total);
        answer.lost.push_back(lost);
    }
    return answer;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(measure_rounding)

BOOST_DATA_TEST_CASE(is_exact_where_float64_is,
                     data::make(subjects(SPEFT_OPERATION_MEASURE_ROUNDING)) * data::make(lengths) *
                         data::make(scalar_types) * data::make({false, true}) *
                         data::make({Deltas::float32, Deltas::bfloat16}),
                     subject, length, type, masked, deltas) {
    const std::vector<HostSegment> host = {
        make_segment(length, type, Values::ordinary, masked, deltas, 1),
        make_segment(0, type, Values::ordinary, masked, deltas, 2),
        make_segment(33, SPEFT_SCALAR_BFLOAT16, Values::few, false, Deltas::float32, 3)};
    if (const auto answer = run(subject, one_thread, host)) BOOST_TEST((*answer == measure(host)));
}

// Deltas of an eighth of the distance between neighbours are lost, those of the whole distance are kept.
BOOST_DATA_TEST_CASE(tells_what_is_lost, data::make(subjects(SPEFT_OPERATION_MEASURE_ROUNDING)), subject) {
    HostSegment segment = make_segment(5000, SPEFT_SCALAR_BFLOAT16, Values::equal, false, Deltas::float32, 1);
    segment.originals = Tensor(SPEFT_SCALAR_BFLOAT16, std::vector<float>(5000, 1.0f));
    for (std::uint64_t j = 0; j < 5000; ++j) segment.deltas.set(j, j < 4000 ? 0x1p-10f : 0x1p-7f);
    const auto answer = run(subject, one_thread, {segment});
    if (!answer) return;
    BOOST_TEST(answer->lost[0] == 4000 * 0x1p-10);
    BOOST_TEST(answer->total[0] == 4000 * 0x1p-10 + 1000 * 0x1p-7);
}

// Sums that are rounded, so that another grouping would show.
BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_MEASURE_ROUNDING)) * data::make(other_settings), subject,
                     settings) {
    std::vector<HostSegment> host = {
        make_segment(70001, SPEFT_SCALAR_BFLOAT16, Values::ordinary, true, Deltas::float32, 1),
        make_segment(70001, SPEFT_SCALAR_FLOAT32, Values::ordinary, false, Deltas::float32, 2)};
    for (HostSegment &segment : host)
        for (std::uint64_t j = 0; j < segment.count(); ++j)
            segment.deltas.set(j, std::ldexp(segment.deltas.get(j), -static_cast<int>(j % 40)));
    const auto expected = run(subject, one_thread, host);
    if (!expected) return;
    const auto answer = run(subject, settings, host);
    BOOST_TEST((answer && *answer == *expected));
}

BOOST_AUTO_TEST_SUITE_END()
