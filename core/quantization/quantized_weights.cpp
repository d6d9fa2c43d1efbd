#include "core/quantization/quantized_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/scalar_type.h"
#include "core/base/status.h"
#include "core/quantization/levels.h"
#include "speft/weights.h"

namespace speft {
namespace {

constexpr speft_dtype float32 = {SPEFT_CODE_FLOAT, 32, 1};
constexpr speft_dtype uint8 = {SPEFT_CODE_UINT, 8, 1};
constexpr speft_dtype int8 = {SPEFT_CODE_INT, 8, 1};

std::uint64_t parts(std::uint64_t count, std::uint64_t size) { return count / size + (count % size != 0); }

void *read_array(const Device &device, const TensorView &tensor, speft_dtype dtype, std::uint64_t count,
                 const std::string &name) {
    if (!same_dtype(tensor.dtype, dtype))
        refuse(name + " must be " + describe(dtype) + "; got " + describe(tensor.dtype));
    if (tensor.size != count)
        refuse(name + " must have " + std::to_string(count) + " elements; got shape " + describe(tensor.shape));
    if (!device.holds(tensor.device))
        refuse(name + " must be on " + describe(device.location()) + "; got " + describe(tensor.device));
    return tensor.data;
}

std::uint64_t read_block(std::int32_t block, std::int32_t least, const std::string &name) {
    constexpr std::int32_t most = 4096;
    if (block < least || block > most || !std::has_single_bit(static_cast<std::uint32_t>(block)))
        refuse(name + " must be a power of 2 between " + std::to_string(least) + " and " + std::to_string(most) +
               "; got " + std::to_string(block));
    return static_cast<std::uint64_t>(block);
}

// The table of the host's where there is one.
template <std::size_t count>
std::array<float, count> read_levels(Device &device, const std::optional<TensorView> &given,
                                     const std::array<float, count> &own, const std::string &name) {
    if (!given) return own;
    std::array<float, count> levels;
    device.copy_to_host(levels.data(), read_array(device, *given, float32, count, name), sizeof levels);
    for (const float level : levels)
        if (!(std::fabs(level) <= 1)) refuse(name + " must be in [-1, 1]; got " + std::to_string(level));
    return levels;
}

}  // namespace

QuantizedWeights::QuantizedWeights(Device &device, const QuantizedRecord &record, const Shape &shape) {
    for (const std::int64_t extent : shape) size_ *= static_cast<std::uint64_t>(extent);
    const bool is_int8 = record.kind == SPEFT_WEIGHTS_INT8;
    if (!is_int8 && record.kind != SPEFT_WEIGHTS_NF4 && record.kind != SPEFT_WEIGHTS_FP4)
        refuse("quantized: kind must be SPEFT_WEIGHTS_NF4, FP4 or INT8; got " + std::to_string(record.kind));
    coding_ = is_int8 ? SPEFT_CODING_INT8 : SPEFT_CODING_LEVELS4;
    if (is_int8) {
        const std::int64_t columns = shape.empty() ? 1 : shape.back();
        if (record.block != 0 && record.block != columns)
            refuse("quantized: block of INT8 is a row, 0 or " + std::to_string(columns) + "; got " +
                   std::to_string(record.block));
        if (record.levels || record.absmax_absmax)
            refuse("quantized: INT8 has neither levels nor absmax_absmax");
        if (record.codes.shape != shape)
            refuse("quantized.data must have shape " + describe(shape) + "; got " + describe(record.codes.shape));
        block_ = static_cast<std::uint64_t>(columns);
        blocks_ = 1;
        for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) blocks_ *= static_cast<std::uint64_t>(shape[axis]);
    } else {
        block_ = read_block(record.block, 32, "quantized: block");
        blocks_ = parts(size_, block_);
        levels_ = read_levels(device, record.levels, record.kind == SPEFT_WEIGHTS_NF4 ? nf4_levels : fp4_levels,
                              "quantized.levels");
    }
    codes_ = read_array(device, record.codes, is_int8 ? int8 : uint8, is_int8 ? size_ : parts(size_, 2),
                        "quantized.data");
    quantizes_absmax_ = record.absmax_absmax.has_value();
    absmax_ = read_array(device, record.absmax, quantizes_absmax_ ? uint8 : float32, blocks_, "quantized.absmax");
    if (!quantizes_absmax_) {
        if (record.absmax_levels || record.absmax_offset || record.absmax_block != 0)
            refuse("quantized: absmax_levels, absmax_offset and absmax_block need absmax_absmax");
        return;
    }
    if (!record.absmax_offset) refuse("quantized.absmax_offset must not be NULL where absmax_absmax is not");
    absmax_block_ = read_block(record.absmax_block, 64, "quantized: absmax_block");
    absmax_absmax_ = static_cast<float *>(read_array(device, *record.absmax_absmax, float32,
                                                     parts(blocks_, absmax_block_), "quantized.absmax_absmax"));
    absmax_offset_ =
        static_cast<float *>(read_array(device, *record.absmax_offset, float32, 1, "quantized.absmax_offset"));
    absmax_levels_ = read_levels(device, record.absmax_levels, dynamic_levels, "quantized.absmax_levels");
    if (!std::is_sorted(absmax_levels_.begin(), absmax_levels_.end())) refuse("quantized.absmax_levels must rise");
}

void QuantizedWeights::check_scales(Device &device) const {
    const auto check = [&](const void *values, std::uint64_t count, float least, const char *name) {
        std::vector<float> scales(static_cast<std::size_t>(count));
        device.copy_to_host(scales.data(), values, scales.size() * sizeof(float));
        for (const float scale : scales)
            if (!(scale >= least && scale <= std::numeric_limits<float>::max()))
                refuse(std::string(name) + " must be finite" + (least == 0 ? " and 0 or more" : "") + "; got " +
                       std::to_string(scale));
    };
    if (!quantizes_absmax_) {
        check(absmax_, blocks_, 0, "quantized.absmax");
        return;
    }
    check(absmax_absmax_, parts(blocks_, absmax_block_), 0, "quantized.absmax_absmax");
    check(absmax_offset_, 1, std::numeric_limits<float>::lowest(), "quantized.absmax_offset");
}

speft_quantized_blocks QuantizedWeights::view() const {
    speft_quantized_blocks blocks{};
    blocks.codes = codes_;
    if (quantizes_absmax()) {
        blocks.absmax_codes = static_cast<const std::uint8_t *>(absmax_);
        blocks.absmax_absmax = absmax_absmax_;
        blocks.absmax_offset = absmax_offset_;
        blocks.absmax_levels = absmax_levels_.data();
        blocks.absmax_block = absmax_block_;
    } else {
        blocks.absmax = static_cast<const float *>(absmax_);
    }
    blocks.levels = coding_ == SPEFT_CODING_INT8 ? nullptr : levels_.data();
    blocks.count = size_;
    blocks.block = block_;
    blocks.coding = coding_;
    return blocks;
}

}  // namespace speft
