#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "tests/conformance/quantized.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

void check(const Subject &subject, const Settings &settings, const QuantizedWeight &quantized, std::int32_t type) {
    Device device(*subject.table, settings);
    const DeviceQuantized source(device, quantized);
    const DeviceTensor target(device, Tensor(type, std::vector<float>(quantized.count, 7.0f)));
    speft_dequantize_blocks arguments{};
    arguments.quantized = source.blocks();
    arguments.weights = target.data();
    arguments.weights_type = type;
    if (!device.run(subject, &arguments)) return;
    Tensor expected(type, quantized.count);
    for (std::uint64_t j = 0; j < quantized.count; ++j) expected.set(j, quantized.weight(j));
    check_same(target.read(), expected);
    source.check_unchanged();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dequantize)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(codings_of_weights) *
                         data::make({Values::ordinary, Values::special}),
                     subject, length, type, as, scales) {
    check(subject, one_thread, make_quantized(as, length, 0, scales), type);
}

BOOST_DATA_TEST_CASE(reads_quantized_scales,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(codings_of_weights) * data::make({64, 256}),
                     subject, length, type, as, absmax_block) {
    const auto scales_a_block = static_cast<std::uint64_t>(absmax_block);
    check(subject, one_thread, make_quantized(as, length, scales_a_block, Values::ordinary), type);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(other_settings) *
                         data::make(scalar_types) * data::make(codings_of_weights) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, type, as, scales) {
    check(subject, settings, make_quantized(as, 70001, 0, scales), type);
}

BOOST_AUTO_TEST_SUITE_END()
