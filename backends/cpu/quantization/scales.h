// The blocks of a quantized weight: their scales, and their scalars one by one.
#pragma once

#include "backends/cpu/parallel.h"
#include "core/base/block_quantization.h"
#include "speft/backend.h"

namespace speft::cpu {

inline float scale_of_block(const speft_quantized_blocks &quantized, std::uint64_t block) {
    if (!quantized.absmax_codes) return quantized.absmax[block];
    return decode_absmax(quantized.absmax_levels[quantized.absmax_codes[block]],
                         quantized.absmax_absmax[block / quantized.absmax_block], *quantized.absmax_offset);
}

// visit(block, its scale) for the blocks in [begin, end): with a division for each group of scales, none for a block.
template <class Visit>
void for_each_scale(const speft_quantized_blocks &quantized, std::uint64_t begin, std::uint64_t end, Visit &&visit) {
    if (!quantized.absmax_codes) {
        for (std::uint64_t block = begin; block < end; ++block) visit(block, quantized.absmax[block]);
        return;
    }
    const float offset = *quantized.absmax_offset;
    while (begin < end) {
        const std::uint64_t group = begin / quantized.absmax_block;
        const std::uint64_t group_end = std::min((group + 1) * quantized.absmax_block, end);
        for (const float absmax_absmax = quantized.absmax_absmax[group]; begin < group_end; ++begin)
            visit(begin, decode_absmax(quantized.absmax_levels[quantized.absmax_codes[begin]], absmax_absmax, offset));
    }
}

// Scalar j, of a block whose scale is `absmax`.
inline float decode_scalar(const speft_quantized_blocks &quantized, std::uint64_t j, float absmax) {
    if (quantized.coding == SPEFT_CODING_INT8)
        return decode_int8(static_cast<const std::int8_t *>(quantized.codes)[j], absmax);
    const std::uint8_t pair = static_cast<const std::uint8_t *>(quantized.codes)[j / 2];
    return quantized.levels[j % 2 == 0 ? pair >> 4 : pair & 15] * absmax;
}

// Some blocks a piece.
inline Pieces pieces_of(const speft_quantized_blocks &quantized) {
    constexpr std::uint64_t scalars = 16384;
    const std::uint64_t block = std::max<std::uint64_t>(1, quantized.block);  // 0: rows without columns
    return {std::max<std::uint64_t>(1, scalars / block), (quantized.count + block - 1) / block};
}

}  // namespace speft::cpu
