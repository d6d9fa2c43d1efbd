// Moments as they are stored, and as the float32 values that a step works on, a block of a segment at a time: `load`
// gives those of [begin, end), `store` keeps what has become of them.
#pragma once

#include <algorithm>

#include "backends/cpu/reference/segment.h"
#include "core/base/block_code.h"

namespace speft::cpu {

static_assert(segment_block_size == code_block_size && segment_piece_size % code_block_size == 0);

class Float32Moments {
public:
    Float32Moments(const speft_moments &moments, bool) : values_(static_cast<float *>(moments.values)) {}

    float *load(std::uint64_t begin, std::uint64_t) { return values_ + begin; }
    void store(std::uint64_t, std::uint64_t) {}

private:
    float *values_;
};

class BFloat16Moments {
public:
    BFloat16Moments(const speft_moments &moments, bool)
        : values_(static_cast<BFloat16 *>(moments.values)), rounding_key_(moments.rounding_key) {}

    float *load(std::uint64_t begin, std::uint64_t end) {
        std::transform(values_ + begin, values_ + end, block_, [](BFloat16 value) { return to_float(value); });
        return block_;
    }
    void store(std::uint64_t begin, std::uint64_t end) {
        for (std::uint64_t j = begin; j < end; ++j)
            values_[j] = round_stochastically(block_[j - begin], draw_bits(rounding_key_, static_cast<std::uint32_t>(j)));
    }

private:
    BFloat16 *values_;
    std::uint32_t rounding_key_;
    float block_[segment_block_size];
};

class Blocks8Moments {
public:
    Blocks8Moments(const speft_moments &moments, bool is_signed)
        : codes_(static_cast<std::uint8_t *>(moments.values)), scales_(moments.scales),
          code_(is_signed ? signed_block_code : unsigned_block_code) {}

    float *load(std::uint64_t begin, std::uint64_t end) {
        const float scale = scales_[begin / code_block_size];
        for (std::uint64_t j = begin; j < end; ++j) block_[j - begin] = decode_in_block(code_, codes_[j], scale);
        return block_;
    }
    void store(std::uint64_t begin, std::uint64_t end) {
        std::uint32_t largest = 0;
        for (std::uint64_t i = 0; i < end - begin; ++i) largest = std::max(largest, magnitude_bits(block_[i]));
        const float scale = block_scale(largest);
        scales_[begin / code_block_size] = scale;
        for (std::uint64_t j = begin; j < end; ++j) codes_[j] = encode_in_block(code_, block_[j - begin], scale);
    }

private:
    std::uint8_t *codes_;
    float *scales_;
    const BlockCode &code_;
    float block_[segment_block_size];
};

// visitor(make) where make(moments, is_signed) are moments of this type.
template <class Visitor>
void visit_moments(std::int32_t type, Visitor &&visitor) {
    switch (type) {
    case SPEFT_STATE_BFLOAT16: return visitor([](const speft_moments &m, bool s) { return BFloat16Moments(m, s); });
    case SPEFT_STATE_BLOCKS8: return visitor([](const speft_moments &m, bool s) { return Blocks8Moments(m, s); });
    default: return visitor([](const speft_moments &m, bool s) { return Float32Moments(m, s); });
    }
}

}  // namespace speft::cpu
