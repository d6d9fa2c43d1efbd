#include <algorithm>
#include <cmath>

#include "host.h"

using namespace speft;

BOOST_AUTO_TEST_SUITE(quantization)

BOOST_AUTO_TEST_CASE(weights_come_back_from_their_codes) {
    Context context = host::make_context();
    std::vector<float> weights(96), after(96);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
    std::vector<std::uint8_t> codes(48), absmax_codes(2);
    std::vector<float> absmax(2), absmax_absmax(1), absmax_offset(1);
    const QuantizedWeights once{WeightsKind::nf4, codes, 64, absmax};
    QuantizedWeights twice{WeightsKind::fp4, codes, 64, absmax_codes};
    twice.absmax_absmax = absmax_absmax;
    twice.absmax_offset = absmax_offset;
    twice.absmax_block = 256;
    for (const QuantizedWeights &quantized : {once, twice}) {
        context.quantize(view(weights, {12, 8}), quantized);
        context.dequantize(quantized, view(after, {12, 8}));
        // Half of the widest step between levels, 1/3 of a scale of at most 1, and what 8 bits take from the scale.
        for (std::size_t i = 0; i < weights.size(); ++i) BOOST_TEST(std::fabs(after[i] - weights[i]) < 0.175f);
    }
    float largest = 0;
    for (std::size_t i = 0; i < 64; ++i) largest = std::max(largest, std::fabs(weights[i]));
    BOOST_TEST(absmax[0] == largest);
}

BOOST_AUTO_TEST_CASE(a_record_that_does_not_fit_is_refused) {
    Context context = host::make_context();
    std::vector<float> weights(96), absmax(2);
    std::vector<std::uint8_t> codes(47);
    const QuantizedWeights quantized{WeightsKind::nf4, codes, 64, absmax};
    CHECK_REFUSED(invalid_argument, "must have 48", context.quantize(weights, quantized));
    CHECK_REFUSED(invalid_argument, "must have 48", context.dequantize(quantized, weights));
}

BOOST_AUTO_TEST_SUITE_END()
