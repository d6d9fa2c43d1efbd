// A quantized weight in the host's memory: what the host says of it, and that checked.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/backend/device.h"
#include "core/base/tensor_view.h"

namespace speft {

struct QuantizedRecord {
    std::int32_t kind = 0;  // SPEFT_WEIGHTS_…
    std::int32_t block = 0;
    TensorView codes;
    TensorView absmax;
    std::optional<TensorView> levels;
    std::optional<TensorView> absmax_absmax;  // with it the absmax are quantized themselves
    std::optional<TensorView> absmax_levels;
    std::optional<TensorView> absmax_offset;
    std::int32_t absmax_block = 0;
};

class QuantizedWeights {
public:
    // Of a weight of this shape; refuses what does not fit it. A table of the host's is read.
    QuantizedWeights(Device &device, const QuantizedRecord &record, const Shape &shape);

    // For the backend; it points into this.
    speft_quantized_blocks view() const;
    // The host's arrays that quantizing anew would change.
    void *codes() const { return codes_; }
    void *absmax() const { return absmax_; }
    std::uint64_t codes_bytes() const { return coding_ == SPEFT_CODING_INT8 ? size_ : (size_ + 1) / 2; }
    std::uint64_t absmax_bytes() const { return blocks_ * (quantizes_absmax_ ? 1 : sizeof(float)); }
    // Refuses scales that no weight can have: negative ones, NaN and infinity. Reads all of them.
    void check_scales(Device &device) const;
    std::uint64_t size() const { return size_; }
    std::uint64_t block() const { return block_; }
    std::uint64_t blocks() const { return blocks_; }
    std::int32_t coding() const { return coding_; }
    bool quantizes_absmax() const { return quantizes_absmax_; }

private:
    std::int32_t coding_;
    bool quantizes_absmax_;
    std::uint64_t size_ = 1, block_ = 1, blocks_ = 0, absmax_block_ = 1;
    void *codes_;
    void *absmax_;
    float *absmax_absmax_ = nullptr, *absmax_offset_ = nullptr;
    std::array<float, 16> levels_{};
    std::array<float, 256> absmax_levels_{};
};

}  // namespace speft
