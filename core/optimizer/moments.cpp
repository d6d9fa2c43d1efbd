#include "core/optimizer/moments.h"

#include <cstring>

#include "core/base/block_code.h"
#include "core/base/random.h"

namespace speft {
namespace {

std::uint64_t count_blocks(std::uint64_t count) { return (count + code_block_size - 1) / code_block_size; }

std::uint64_t count_of(const Masks &masks, std::size_t parameter) {
    return static_cast<std::uint64_t>(masks.slots[parameter].count);
}

std::uint64_t count_all_blocks(const Masks &masks) {
    std::uint64_t blocks = 0;
    for (std::size_t parameter = 0; parameter < masks.slots.size(); ++parameter)
        blocks += count_blocks(count_of(masks, parameter));
    return blocks;
}

StateType state_type(std::int32_t type) {
    if (type == SPEFT_STATE_BFLOAT16) return StateType::bfloat16;
    return type == SPEFT_STATE_BLOCKS8 ? StateType::uint8 : StateType::float32;
}

}  // namespace

std::uint64_t Moments::bytes(std::int32_t type, std::uint64_t count) {
    if (type == SPEFT_STATE_BLOCKS8) return count + count_blocks(count) * sizeof(float);
    return count * (type == SPEFT_STATE_BFLOAT16 ? 2 : sizeof(float));
}

std::uint64_t Moments::value_bytes() const { return type_ == SPEFT_STATE_BLOCKS8 ? 1 : bytes(type_, 1); }

void Moments::start_values(Device &device, const Masks &masks) {
    values_ = Buffer<std::byte>::zeros(device, masks.trained * value_bytes());
}

void Moments::start_scales(Device &device, const Masks &masks) {
    scales_ = Buffer<float>::zeros(device, count_all_blocks(masks));
    first_scales_.clear();
    std::uint64_t first = 0;
    for (std::size_t parameter = 0; parameter < masks.slots.size(); ++parameter) {
        first_scales_.push_back(first);
        first += count_blocks(count_of(masks, parameter));
    }
}

void Moments::start(Device &device, const Masks &masks) {
    if (!values_) start_values(device, masks);
    if (type_ == SPEFT_STATE_BLOCKS8 && !scales_) start_scales(device, masks);
}

speft_moments Moments::of(const Masks &masks, std::size_t parameter, std::uint32_t rounding_key) const {
    speft_moments moments{};
    moments.values = values_.data() + masks.slots[parameter].offset * value_bytes();
    if (scales_) moments.scales = scales_.data() + first_scales_[parameter];
    moments.type = type_;
    moments.rounding_key = mix32(rounding_key + kind_.number);
    return moments;
}

void Moments::list(std::vector<OptimizerState> &state) const {
    if (values_) state.push_back({kind_.name, state_type(type_), values_.data(), values_.count() / value_bytes()});
    if (scales_) state.push_back({kind_.scales_name, StateType::float32, scales_.data(), scales_.count()});
}

void *Moments::allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count) {
    if (std::strcmp(name, kind_.name) == 0 && type == state_type(type_) && count == masks.trained) {
        start_values(device, masks);
        return values_.data();
    }
    if (std::strcmp(name, kind_.scales_name) == 0 && type_ == SPEFT_STATE_BLOCKS8 && type == StateType::float32 &&
        count == count_all_blocks(masks)) {
        start_scales(device, masks);
        return scales_.data();
    }
    return nullptr;
}

Moments Moments::moved(Device &device, const Move &move, const std::vector<Fate> &fates) const {
    Moments moved(kind_, type_);
    if (!values_) return moved;
    moved.start(device, move.after);
    for (std::size_t parameter = 0; parameter < fates.size(); ++parameter) {
        const std::uint64_t count = count_of(move.after, parameter);
        if (count == 0 || fates[parameter] == Fate::restarts) continue;
        const speft_moments source = of(move.before, parameter, 0), target = moved.of(move.after, parameter, 0);
        if (fates[parameter] == Fate::stays) {
            device.copy_within(target.values, source.values, count * value_bytes());
            if (scales_) device.copy_within(target.scales, source.scales, count_blocks(count) * sizeof(float));
        } else if (type_ != SPEFT_STATE_BLOCKS8) {
            device.run(speft_take{target.values, source.values, move.positions[parameter], count, value_bytes()});
        } else {
            const std::uint64_t count_before = count_of(move.before, parameter);
            const Buffer<float> before(device, count_before), after = Buffer<float>::zeros(device, count);
            device.run(speft_convert_moments{source, before.data(), count_before, 1, kind_.is_signed});
            device.run(speft_take{after.data(), before.data(), move.positions[parameter], count, sizeof(float)});
            device.run(speft_convert_moments{target, after.data(), count, 0, kind_.is_signed});
        }
    }
    return moved;
}

void Moments::put(Device &device, const Masks &masks, std::size_t parameter, const float *values,
                  std::uint64_t count, float factor, const std::uint32_t *positions, std::uint32_t rounding_key) {
    const Buffer<float> scaled(device, count);
    device.copy_within(scaled.data(), values, count * sizeof(float));
    float *const arrays[] = {scaled.data()};
    device.run(speft_scale{arrays, &count, 1, factor});

    const speft_moments target = of(masks, parameter, rounding_key);
    const std::uint64_t wanted = count_of(masks, parameter);
    if (type_ == SPEFT_STATE_FLOAT32) {
        device.run(speft_take{target.values, scaled.data(), positions, wanted, sizeof(float)});
        return;
    }
    const Buffer<float> wide(device, wanted);  // bfloat16 stays as it is on the way there and back
    device.run(speft_convert_moments{target, wide.data(), wanted, 1, kind_.is_signed});
    device.run(speft_take{wide.data(), scaled.data(), positions, wanted, sizeof(float)});
    device.run(speft_convert_moments{target, wide.data(), wanted, 0, kind_.is_signed});
}

}  // namespace speft
