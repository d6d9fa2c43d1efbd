#include <algorithm>
#include <cmath>

#include "host.h"

using namespace speft;

namespace {

constexpr std::size_t rows = 6, columns = 32, tokens = 3;
constexpr std::int64_t budget = 12;

// Sums of at most 33 products of numbers below 2, in float32, and those with W and with a delta apart.
constexpr double tolerance = 2 * 33 * 33 * 4 * 0x1p-24;

// x matrixᵀ, or dy matrix, in double.
std::vector<double> multiply(const std::vector<float> &inputs, const std::vector<float> &matrix, bool forward) {
    const std::size_t in = forward ? columns : rows, out = forward ? rows : columns;
    std::vector<double> outputs(tokens * out);
    for (std::size_t i = 0; i < outputs.size(); ++i)
        for (std::size_t q = 0; q < in; ++q)
            outputs[i] += double(inputs[i / out * in + q]) *
                          matrix[forward ? i % out * columns + q : q * columns + i % out];
    return outputs;
}

void check_near(const std::vector<float> &found, const std::vector<double> &expected, double added = 0) {
    for (std::size_t i = 0; i < found.size(); ++i) BOOST_TEST(std::fabs(found[i] - expected[i] - added) <= tolerance);
}

// A layer [6, 32] in NF4, whose three scales are quantized themselves.
struct Layer {
    Context context = host::make_context();
    std::vector<std::uint8_t> codes = std::vector<std::uint8_t>(rows * columns / 2);
    std::vector<std::uint8_t> absmax_codes = std::vector<std::uint8_t>(3);
    std::vector<float> absmax_absmax = {0}, absmax_offset = {0};
    std::vector<float> x = host::make_values(tokens * columns, 5), dy = host::make_values(tokens * rows, 6);

    Layer() {
        std::vector<float> values = host::make_values(rows * columns, 1);
        for (std::size_t i = 64; i < 128; ++i) values[i] /= 16;  // scales that differ
        context.quantize(view(values, {rows, columns}), weights());
    }
    QuantizedWeights weights() {
        QuantizedWeights weights{WeightsKind::nf4, codes, 64, absmax_codes};
        weights.absmax_absmax = absmax_absmax;
        weights.absmax_offset = absmax_offset;
        weights.absmax_block = 64;
        return weights;
    }
    std::vector<float> dequantize() {
        std::vector<float> values(rows * columns);
        context.dequantize(weights(), view(values, {rows, columns}));
        return values;
    }
    Adapter train(Method method, double rate) {
        const std::vector<float> gradient = host::make_values(rows * columns, 9);
        Adapter adapter(context, {{"w", {rows, columns}}}, host::choose(method, budget));
        adapter.bind(0, weights());
        adapter.select();
        adapter.accumulate(0, Gradient::dense(view(gradient, {rows, columns})));
        Hyperparameters all;
        all.learning_rate = rate;
        adapter.step(all);
        return adapter;
    }
    static std::vector<float> add_deltas(std::vector<float> base, const Adapter &adapter) {
        const auto mask = adapter.mask(0);
        const auto deltas = adapter.deltas(0).values<float>();
        for (std::size_t i = 0; i < mask.size(); ++i) base[static_cast<std::size_t>(mask[i])] += deltas[i];
        return base;
    }
};

}  // namespace

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

BOOST_AUTO_TEST_CASE(int8_has_a_scale_a_row) {
    Context context = host::make_context();
    const std::vector<float> weights = {1, -0.5f, 0, 0.25f, 8, 4, 2, -8};
    std::vector<std::int8_t> codes(8);
    std::vector<float> absmax(2), after(8);
    const QuantizedWeights quantized{WeightsKind::int8, view(codes, {2, 4}), 0, absmax};
    context.quantize(view(weights, {2, 4}), quantized);
    const std::vector<std::int8_t> expected = {127, -64, 0, 32, 127, 64, 32, -127};  // round(w * 127 / scale)
    BOOST_CHECK(codes == expected);
    BOOST_CHECK((absmax == std::vector<float>{1, 8}));
    context.dequantize(quantized, view(after, {2, 4}));
    for (std::size_t i = 0; i < 8; ++i)
        BOOST_TEST(std::fabs(after[i] - expected[i] / 127.0f * absmax[i / 4]) <= 2e-6f);
}

BOOST_AUTO_TEST_CASE(a_layer_of_codes_multiplies) {
    Layer layer;
    std::vector<float> y(tokens * rows, 3.0f), dx(tokens * columns, 3.0f);
    layer.context.quantized_forward(layer.weights(), view(layer.x, {tokens, columns}), view(y, {tokens, rows}));
    layer.context.quantized_backward(layer.weights(), view(layer.dy, {tokens, rows}), view(dx, {tokens, columns}));
    const std::vector<float> base = layer.dequantize();
    check_near(y, multiply(layer.x, base, true));
    check_near(dx, multiply(layer.dy, base, false));

    LinearOptions options;
    options.layout = Layout::in_out;
    options.accumulate = true;
    std::vector<float> again(tokens * columns, 1.0f);
    layer.context.quantized_forward(layer.weights(), view(layer.dy, {tokens, rows}), view(again, {tokens, columns}),
                                    options);
    check_near(again, multiply(layer.dy, base, false), 1);
    options.delta_only = true;
    CHECK_REFUSED(invalid_argument, "delta_only",
                  layer.context.quantized_forward(layer.weights(), view(layer.dy, {tokens, rows}),
                                                  view(again, {tokens, columns}), options));
    CHECK_REFUSED(invalid_argument, "got 3 and 2",
                  layer.context.quantized_backward(layer.weights(), view(layer.dy, {tokens, rows}),
                                                   MutableTensorView(dx.data(), {2, columns})));
}

// The deltas lie beside the codes until they are merged.
BOOST_AUTO_TEST_CASE(deltas_are_trained_beside_the_codes) {
    Layer layer;
    const std::vector<float> base = layer.dequantize();
    const std::vector<std::uint8_t> codes = layer.codes, scales = layer.absmax_codes;
    Adapter adapter = layer.train(Method::magnitude, 0.5);
    BOOST_CHECK(layer.codes == codes);
    const std::vector<float> trained = layer.add_deltas(base, adapter);
    std::vector<float> y(tokens * rows), dx(tokens * columns);
    adapter.linear_forward(0, view(layer.x, {tokens, columns}), view(y, {tokens, rows}));
    adapter.linear_backward(0, view(layer.dy, {tokens, rows}), view(dx, {tokens, columns}));
    check_near(y, multiply(layer.x, trained, true));
    check_near(dx, multiply(layer.dy, trained, false));
    CHECK_REFUSED(invalid_state, "speft_merge", adapter.measure_requantization(0));

    adapter.merge();
    BOOST_TEST(!adapter.state().attached);
    const std::vector<float> merged = layer.dequantize();
    const auto mask = adapter.mask(0);
    double errors = 0, squares = 0;  // of the blocks that have a delta
    for (std::size_t i = 0; i < merged.size(); ++i) {
        if (std::none_of(mask.begin(), mask.end(), [i](std::int64_t at) { return std::size_t(at) / 64 == i / 64; }))
            continue;
        errors += std::pow(double(merged[i]) - trained[i], 2);
        squares += std::pow(double(trained[i]), 2);
    }
    const Requantization done = adapter.measure_requantization(0);
    BOOST_TEST(done.deltas == budget);
    BOOST_TEST(done.changed > 0);
    BOOST_TEST(done.changed <= budget);
    // w is rounded to float32 here.
    BOOST_TEST(std::fabs(done.relative_error - std::sqrt(errors / squares)) <= 1e-6);
    BOOST_TEST(adapter.measure_requantization().changed == done.changed);
    CHECK_REFUSED(invalid_state, "in the weights",
                  adapter.linear_forward(0, view(layer.x, {tokens, columns}), view(y, {tokens, rows})));
    adapter.unmerge();
    BOOST_CHECK(layer.codes == codes);
    BOOST_CHECK(layer.absmax_codes == scales);
}

BOOST_AUTO_TEST_CASE(each_row_has_its_adapter) {
    Layer layer;
    const std::vector<float> base = layer.dequantize();
    Adapter first = layer.train(Method::magnitude, 0.5), second = layer.train(Method::random, 0.25);
    const std::vector<std::int64_t> choice = {1, -1, 0};
    std::vector<float> y(tokens * rows);
    const auto serve = [&](const std::vector<Served> &served, const std::vector<std::int64_t> &chosen) {
        linear_forward_each(served, view(layer.x, {tokens, columns}), chosen, view(y, {tokens, rows}));
    };
    serve({{&first, 0}, {&second, 0}}, choice);
    const std::vector<float> weights[] = {layer.add_deltas(base, second), base, layer.add_deltas(base, first)};
    for (std::size_t token = 0; token < tokens; ++token) {
        const auto expected = multiply(layer.x, weights[token], true);
        for (std::size_t row = 0; row < rows; ++row)
            BOOST_TEST(std::fabs(y[token * rows + row] - expected[token * rows + row]) <= tolerance);
    }

    const std::vector<float> before = y;
    CHECK_REFUSED(invalid_argument, "count must be 1", serve({}, choice));
    CHECK_REFUSED(invalid_argument, "adapters", serve({{&first, 0}, {nullptr, 0}}, choice));
    CHECK_REFUSED(invalid_argument, "between -1 and 0; got 1 for row 0", serve({{&first, 0}}, choice));
    second.unbind(0);
    CHECK_REFUSED(invalid_state, "not bound", serve({{&first, 0}, {&second, 0}}, choice));
    BOOST_TEST(host::same_bits(y, before));
}

BOOST_AUTO_TEST_CASE(bindings_that_do_not_fit_are_refused) {
    Layer layer;
    Adapter adapter(layer.context, {{"w", {rows, columns}}}, host::choose(Method::magnitude, budget));
    std::vector<float> dense(rows * columns);
    layer.absmax_absmax[0] = -1;
    CHECK_REFUSED(invalid_argument, "absmax_absmax", adapter.bind(0, layer.weights()));
    layer.absmax_absmax[0] = 1;
    adapter.bind(0, layer.weights());
    adapter.select();
    CHECK_REFUSED(invalid_state, "'w' was bound to quantized", adapter.bind(0, view(dense, {rows, columns})));
    adapter.merge();
    CHECK_REFUSED(invalid_argument, "parameter", adapter.measure_requantization(1));
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
