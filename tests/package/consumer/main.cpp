// As main.c, from C++ with exceptions of its own. Prints "0.50 -0.25".
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <speft/speft.h>

namespace {

void check(speft_status status, speft_error *error) {
    if (status == SPEFT_OK) return;
    const std::string message = speft_get_error_message(error);
    speft_destroy_error(error);
    throw std::runtime_error(message);
}

void train(speft_context *context, std::vector<float> &weights) {
    std::vector<float> slopes(64);
    slopes[10] = -0.5f;
    slopes[33] = 0.25f;
    std::vector<std::int64_t> shape = {8, 8};
    speft_tensor layer = {weights.data(), {SPEFT_DEVICE_CPU, 0}, 2, {SPEFT_CODE_FLOAT, 32, 1}, shape.data(), nullptr, 0};
    speft_tensor dense = layer;
    dense.data = slopes.data();
    const speft_weights lent = {sizeof lent, SPEFT_WEIGHTS_DENSE, &layer, nullptr};
    speft_gradient gradient = {};
    gradient.struct_size = sizeof gradient;
    gradient.kind = SPEFT_GRADIENT_DENSE;
    gradient.dense = &dense;
    speft_parameter matrix;
    speft_parameter_init(&matrix, sizeof matrix);
    matrix.name = "w";
    matrix.shape = shape.data();
    matrix.ndim = 2;
    matrix.dtype = layer.dtype;
    const speft_parameter *const all[] = {&matrix};
    speft_selection_options selection;
    speft_selection_options_init(&selection, sizeof selection);
    selection.budget = 2;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    speft_adapter *adapter = nullptr;
    speft_error *error = nullptr;
    check(speft_create_adapter(context, &options, all, 1, &adapter, &error), error);
    check(speft_bind_weights(adapter, 0, &lent, &error), error);
    check(speft_observe(adapter, 0, &gradient, &error), error);
    check(speft_finish_observation(adapter, 1, &error), error);
    check(speft_select(adapter, nullptr, &error), error);
    for (int step = 0; step < 2000; ++step) {
        check(speft_accumulate(adapter, 0, &gradient, &error), error);
        check(speft_step(adapter, nullptr, &error), error);
        for (int i = 0; i < 64; ++i) slopes[i] = weights[i] - (i == 10 ? 0.5f : i == 33 ? -0.25f : 0.0f);
    }
    speft_destroy_adapter(adapter);
}

}  // namespace

int main() {
    speft_context *context = nullptr;
    speft_error *error = nullptr;
    check(speft_create_context(nullptr, &context, &error), error);
    std::vector<float> weights(64);
    train(context, weights);
    bool thrown = false;
    try {
        speft_adapter *adapter = nullptr;
        check(speft_load_adapter(context, nullptr, "no such file", &adapter, &error), error);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    speft_destroy_context(context);
    std::cout << std::fixed << std::setprecision(2) << weights[10] << ' ' << weights[33] << std::endl;
    return thrown ? 0 : 1;
}
