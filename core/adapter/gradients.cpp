#include "core/adapter/gradients.h"

#include <cmath>

namespace speft {
namespace {

double sum_of_squares(Device &device, const float *values, std::uint64_t count) {
    double sum = 0;
    if (count > 0) device.run(speft_sum_squares{&values, &count, 1, &sum});
    return sum;
}

}  // namespace

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

Gradients::Sum Gradients::sum(Device &device, const Masks &masks, std::size_t parameter, const Gradient &gradient) {
    const Masks::Slot &slot = masks.slots[parameter];
    const auto count = static_cast<std::uint64_t>(slot.count);
    const float *before = prepare(device, masks, parameter);
    Sum sum{{device, count}};
    device.copy_within(sum.values.data(), before, count * sizeof(float));
    add_gradient(device, {sum.values.data(), slot.indices, count}, gradient, 1.0);
    sum.squares = sum_of_squares(device, sum.values.data(), count);
    return sum;
}

void Gradients::keep(Device &device, const Masks &masks, std::size_t parameter, const Sum &sum) {
    put(device, masks, parameter, sum.values.data());
}

void Gradients::put(Device &device, const Masks &masks, std::size_t parameter, const float *values) {
    const auto count = static_cast<std::uint64_t>(masks.slots[parameter].count);
    device.copy_within(lend(device, masks, parameter), values, count * sizeof(float));
    states_[parameter].present = states_[parameter].ever = true;
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
    return sum_of_squares(device, values_.data() + masks.slots[parameter].offset,
                          static_cast<std::uint64_t>(masks.slots[parameter].count));
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
