#include "core/adapter/bound_weights.h"

#include <vector>

#include "core/base/hash.h"

namespace speft {

std::uint64_t BoundWeights::hash(Device &device, const Parameter &declared) const {
    std::vector<std::byte> bits(static_cast<std::size_t>(bytes(declared)));
    device.copy_to_host(bits.data(), memory(), bits.size());
    if (quantized_) {
        const std::size_t codes = bits.size();
        bits.resize(codes + static_cast<std::size_t>(quantized_->absmax_bytes()));
        device.copy_to_host(bits.data() + codes, quantized_->absmax(), bits.size() - codes);
    }
    return hash_bytes(bits.data(), bits.size());
}

Buffer<std::byte> BoundWeights::copy(Device &device, const Parameter &declared) const {
    const std::uint64_t codes = bytes(declared);
    Buffer<std::byte> copied(device, codes + (quantized_ ? quantized_->absmax_bytes() : 0));
    device.copy_within(copied.data(), memory(), codes);
    if (quantized_) device.copy_within(copied.data() + codes, quantized_->absmax(), quantized_->absmax_bytes());
    return copied;
}

void BoundWeights::restore(Device &device, const Buffer<std::byte> &copied) const {
    if (!quantized_) {
        device.copy_within(dense_, copied.data(), copied.count());
        return;
    }
    device.copy_within(quantized_->codes(), copied.data(), quantized_->codes_bytes());
    device.copy_within(quantized_->absmax(), copied.data() + quantized_->codes_bytes(), quantized_->absmax_bytes());
}

void *BoundWeights::values(Device &device, const Parameter &declared, Buffer<std::byte> &room) const {
    if (!quantized_) return dense_;
    room = Buffer<std::byte>(device, declared.size * size_of(declared.type));
    speft_dequantize_blocks dequantize{};
    dequantize.quantized = quantized_->view();
    dequantize.weights = room.data();
    dequantize.weights_type = static_cast<std::int32_t>(declared.type);
    device.run(dequantize);
    return room.data();
}

}  // namespace speft
