#include "core/adapter/gradients.h"

#include <cmath>

namespace speft {

float *Gradients::prepare(Device &device, const Masks &masks, std::size_t parameter) {
    if (!values_) values_ = Buffer<float>(device, masks.trained);
    const Masks::Slot &slot = masks.slots[parameter];
    float *values = values_.data() + slot.offset;
    State &state = states_[parameter];
    if (!state.present && !state.zeros) {
        device.zero(values, static_cast<std::uint64_t>(slot.count) * sizeof(float));
        state.zeros = true;
    }
    return values;
}

void Gradients::add(Device &device, const Masks &masks, std::size_t parameter, const Gradient &gradient) {
    const Masks::Slot &slot = masks.slots[parameter];
    float *values = prepare(device, masks, parameter);
    State &state = states_[parameter];
    state.zeros = false;
    add_gradient(device, {values, slot.indices, static_cast<std::uint64_t>(slot.count)}, gradient, 1.0);
    state.present = state.ever = true;
}

float *Gradients::lend(Device &device, const Masks &masks, std::size_t parameter) {
    float *values = prepare(device, masks, parameter);
    states_[parameter].zeros = false;  // the host may write
    return values;
}

void Gradients::restore(Device &device, const Masks &masks, std::size_t parameter, const float *values) {
    State &state = states_[parameter];
    state.ever = true;
    if (!values) return;
    const auto count = static_cast<std::uint64_t>(masks.slots[parameter].count);
    device.copy_to_device(lend(device, masks, parameter), values, count * sizeof(float));
    state.present = true;
}

Gradients::Arrays Gradients::present_arrays(const Masks &masks) const {
    Arrays arrays;
    for (std::size_t parameter = 0; parameter < states_.size(); ++parameter) {
        if (!states_[parameter].present) continue;
        arrays.values.push_back(values_.data() + masks.slots[parameter].offset);
        arrays.counts.push_back(static_cast<std::uint64_t>(masks.slots[parameter].count));
    }
    return arrays;
}

double Gradients::squares(Device &device, const Masks &masks, std::size_t parameter) const {
    if (!states_[parameter].present) return 0;
    float *values = values_.data() + masks.slots[parameter].offset;
    const auto count = static_cast<std::uint64_t>(masks.slots[parameter].count);
    double sum = 0;
    if (count > 0) device.run(speft_sum_squares{&values, &count, 1, &sum});
    return sum;
}

void Gradients::remember(const Gradients &before) {
    for (std::size_t parameter = 0; parameter < states_.size(); ++parameter)
        states_[parameter].ever = before.states_[parameter].ever;
}

double Gradients::norm(Device &device, const Masks &masks) const {
    const Arrays arrays = present_arrays(masks);
    double sum = 0;
    device.run(speft_sum_squares{arrays.values.data(), arrays.counts.data(), arrays.values.size(), &sum});
    return std::sqrt(sum);
}

void Gradients::scale(Device &device, const Masks &masks, float factor) {
    const Arrays arrays = present_arrays(masks);
    device.run(speft_scale{arrays.values.data(), arrays.counts.data(), arrays.values.size(), factor});
}

}  // namespace speft
