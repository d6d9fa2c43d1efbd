#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/quantized.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct QuantizedWeight {
    Codes as;
    std::uint64_t count;
    std::uint64_t absmax_block;  // 0: the scales are not quantized
    std::vector<unsigned char> codes{};
    std::vector<float> absmax{};
    std::vector<unsigned char> absmax_codes{};
    std::vector<float> absmax_absmax{};
    std::vector<float> absmax_offset{};

    float scale(std::uint64_t block) const {
        if (absmax_block == 0) return absmax[block];
        const float product = rounded(levels8.levels[absmax_codes[block]] * absmax_absmax[block / absmax_block]);
        return rounded(product + absmax_offset[0]);
    }

    float weight(std::uint64_t j) const {
        const float absmax_of_block = scale(j / as.block);
        if (as.coding == SPEFT_CODING_INT8)
            return rounded(rounded(static_cast<std::int8_t>(codes[j]) * absmax_of_block) * (1.0f / 127));
        const unsigned pair = codes[j / 2];
        return rounded(as.levels[j % 2 ? pair % 16 : pair / 16] * absmax_of_block);
    }
};

QuantizedWeight make(const Codes &as, std::uint64_t count, std::uint64_t absmax_block, Values scales) {
    QuantizedWeight made{as, count, absmax_block};
    std::mt19937 random(3);
    made.codes.resize(as.coding == SPEFT_CODING_INT8 ? count : (count + 1) / 2);
    for (unsigned char &code : made.codes) code = static_cast<unsigned char>(random());
    const std::uint64_t blocks = (count + as.block - 1) / as.block;
    if (absmax_block == 0) {
        made.absmax = make_values(blocks, scales, 4);
    } else {
        made.absmax_codes.resize(blocks);
        for (unsigned char &code : made.absmax_codes) code = static_cast<unsigned char>(random());
        made.absmax_absmax = make_values((blocks + absmax_block - 1) / absmax_block, scales, 4);
        made.absmax_offset = {0.3f};
    }
    return made;
}

void check(const Subject &subject, const Settings &settings, const QuantizedWeight &quantized, std::int32_t type) {
    Device device(*subject.table, settings);
    const DeviceArray<unsigned char> codes(device, quantized.codes), absmax_codes(device, quantized.absmax_codes);
    const DeviceArray<float> absmax(device, quantized.absmax), absmax_absmax(device, quantized.absmax_absmax),
        absmax_offset(device, quantized.absmax_offset);
    const DeviceTensor target(device, Tensor(type, std::vector<float>(quantized.count, 7.0f)));
    const bool twice = quantized.absmax_block > 0;
    speft_dequantize_blocks arguments{};
    arguments.quantized.codes = codes.data();
    arguments.quantized.absmax = twice ? nullptr : absmax.data();
    arguments.quantized.absmax_codes = twice ? absmax_codes.data() : nullptr;
    arguments.quantized.absmax_absmax = twice ? absmax_absmax.data() : nullptr;
    arguments.quantized.absmax_offset = twice ? absmax_offset.data() : nullptr;
    arguments.quantized.absmax_levels = twice ? levels8.levels.data() : nullptr;
    arguments.quantized.levels = quantized.as.levels.empty() ? nullptr : quantized.as.levels.data();
    arguments.quantized.count = quantized.count;
    arguments.quantized.block = quantized.as.block;
    arguments.quantized.absmax_block = quantized.absmax_block;
    arguments.quantized.coding = quantized.as.coding;
    arguments.weights = target.data();
    arguments.weights_type = type;
    if (!device.run(subject, &arguments)) return;
    Tensor expected(type, quantized.count);
    for (std::uint64_t j = 0; j < quantized.count; ++j) expected.set(j, quantized.weight(j));
    check_same(target.read(), expected);
    BOOST_TEST((codes.read() == quantized.codes));
    BOOST_TEST((absmax_codes.read() == quantized.absmax_codes));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dequantize)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(codings_of_weights) *
                         data::make({Values::ordinary, Values::special}),
                     subject, length, type, as, scales) {
    check(subject, one_thread, make(as, length, 0, scales), type);
}

BOOST_DATA_TEST_CASE(reads_quantized_scales,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(codings_of_weights) * data::make({64, 256}),
                     subject, length, type, as, absmax_block) {
    check(subject, one_thread, make(as, length, static_cast<std::uint64_t>(absmax_block), Values::ordinary), type);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_DEQUANTIZE)) * data::make(other_settings) *
                         data::make(scalar_types) * data::make(codings_of_weights) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, type, as, scales) {
    check(subject, settings, make(as, 70001, 0, scales), type);
}

BOOST_AUTO_TEST_SUITE_END()
