// The host's memory of one parameter: dense weights, which an adapter writes to in place, or quantized ones, which it
// leaves as they are until it is merged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"
#include "core/quantization/quantized_weights.h"

namespace speft {

class BoundWeights {
public:
    BoundWeights() = default;
    explicit BoundWeights(void *dense) : dense_(dense), present_(true) {}
    explicit BoundWeights(const QuantizedWeights &quantized) : quantized_(quantized), present_(true) {}

    // Lent, that is.
    bool present() const { return present_; }
    // What it was is remembered: whether deltas are in the weights hangs on it.
    void unbind() {
        dense_ = nullptr;
        present_ = false;
    }

    // NULL where quantized.
    void *dense() const { return dense_; }
    const QuantizedWeights *quantized() const { return quantized_ ? &*quantized_ : nullptr; }

    // What merging may change, for its claim.
    const void *memory() const { return quantized_ ? quantized_->codes() : dense_; }
    std::uint64_t bytes(const Parameter &declared) const {
        return quantized_ ? quantized_->codes_bytes() : declared.size * size_of(declared.type);
    }
    // All of it, equal where two are.
    std::uint64_t hash(Device &device, const Parameter &declared) const;

    // A copy of the bits that merging may change, and those put back.
    Buffer<std::byte> copy(Device &device, const Parameter &declared) const;
    void restore(Device &device, const Buffer<std::byte> &copied) const;

    // As they are read, in the declared type: the memory itself, or dequantized into `room`.
    void *values(Device &device, const Parameter &declared, Buffer<std::byte> &room) const;

private:
    void *dense_ = nullptr;
    std::optional<QuantizedWeights> quantized_;
    bool present_ = false;
};

}  // namespace speft
