// Ways to write weights as codes, their tables, and weights so written.
#pragma once

#include <algorithm>

#include "tests/conformance/values.h"

namespace conformance {

struct Codes {
    const char *name;
    std::int32_t coding;
    std::uint64_t block;
    std::vector<float> levels{};

    friend std::ostream &operator<<(std::ostream &out, const Codes &codes) {
        return out << codes.name << " in blocks of " << codes.block;
    }
};

// With both zeros, and in an order of their own, as bitsandbytes' FP4 has them.
inline const std::vector<float> levels_in_disorder = {0,    0x1p-8f,  0.6875f,  1,  0.375f,  0.5f,  0.1875f,  0.25f,
                                                      0,    -0x1p-8f, -0.6875f, -1, -0.375f, -0.5f, -0.1875f, -0.25f};
inline const std::vector<float> levels_that_rise = {-1,    -0.7f, -0.53f, -0.39f, -0.28f, -0.18f, -0.09f, 0,
                                                    0.08f, 0.16f, 0.25f,  0.34f,  0.44f,  0.56f,  0.72f,  1};

// Finer near 0, as a dynamic map is.
inline std::vector<float> make_fine_levels() {
    std::vector<float> levels;
    for (int i = -127; i <= 128; ++i) levels.push_back(static_cast<float>(i * std::abs(i)) / (128 * 128));
    return levels;
}

inline const Codes levels8{"8-bit levels", SPEFT_CODING_LEVELS8, 256, make_fine_levels()};
inline const std::vector<Codes> codings_of_levels = {
    {"rising levels", SPEFT_CODING_LEVELS4, 64, levels_that_rise},
    {"levels in disorder", SPEFT_CODING_LEVELS4, 32, levels_in_disorder},
    {"rising levels", SPEFT_CODING_LEVELS4, 4096, levels_that_rise},
    levels8,
};
inline const std::vector<Codes> codings_of_weights = {
    codings_of_levels[0], codings_of_levels[1], codings_of_levels[2],
    {"int8", SPEFT_CODING_INT8, 77},
    {"int8", SPEFT_CODING_INT8, 1},
    {"int8", SPEFT_CODING_INT8, 40000},
};
inline const std::vector<Codes> codings = [] {
    std::vector<Codes> all = codings_of_weights;
    all.push_back(levels8);
    return all;
}();

// On the host, and its scalars as they have to be read.
struct QuantizedWeight {
    Codes as;
    std::uint64_t count;
    std::uint64_t absmax_block;  // 0: the scales are not quantized
    std::vector<unsigned char> codes{};
    std::vector<float> absmax{};
    std::vector<unsigned char> absmax_codes{};
    std::vector<float> absmax_absmax{};
    std::vector<float> absmax_offset{};

    float decode_scale(std::uint8_t code, std::uint64_t block) const {
        return rounded(rounded(levels8.levels[code] * absmax_absmax[block / absmax_block]) + absmax_offset[0]);
    }

    float scale(std::uint64_t block) const {
        return absmax_block == 0 ? absmax[block] : decode_scale(absmax_codes[block], block);
    }

    std::uint8_t code(std::uint64_t j) const {
        if (as.coding == SPEFT_CODING_INT8) return codes[j];
        return j % 2 ? codes[j / 2] % 16 : codes[j / 2] / 16;
    }

    float decode(std::uint8_t code, float absmax_of_block) const {
        if (as.coding == SPEFT_CODING_INT8)
            return rounded(rounded(static_cast<std::int8_t>(code) * absmax_of_block) * (1.0f / 127));
        return rounded(as.levels[code] * absmax_of_block);
    }

    float weight(std::uint64_t j) const { return decode(code(j), scale(j / as.block)); }
};

inline QuantizedWeight make_quantized(const Codes &as, std::uint64_t count, std::uint64_t absmax_block, Values scales) {
    QuantizedWeight made{as, count, absmax_block};
    std::mt19937 random(3);
    made.codes.resize(as.coding == SPEFT_CODING_INT8 ? count : (count + 1) / 2);
    for (unsigned char &code : made.codes) code = static_cast<unsigned char>(random());
    const std::uint64_t blocks = (count + as.block - 1) / as.block;
    if (absmax_block == 0) {
        made.absmax = make_values(blocks, scales, 4);
    } else {
        made.absmax_codes.resize(blocks);
        for (unsigned char &code : made.absmax_codes) code = static_cast<unsigned char>(random());
        made.absmax_absmax = make_values((blocks + absmax_block - 1) / absmax_block, scales, 4);
        made.absmax_offset = {0.3f};
    }
    return made;
}

class DeviceQuantized {
public:
    DeviceQuantized(Device &device, QuantizedWeight quantized)
        : host_(std::move(quantized)), codes_(device, host_.codes), absmax_codes_(device, host_.absmax_codes),
          absmax_(device, host_.absmax), absmax_absmax_(device, host_.absmax_absmax),
          absmax_offset_(device, host_.absmax_offset) {}

    speft_quantized_blocks blocks() const {
        const bool twice = host_.absmax_block > 0;
        speft_quantized_blocks blocks{};
        blocks.codes = codes_.data();
        blocks.absmax = twice ? nullptr : absmax_.data();
        blocks.absmax_codes = twice ? absmax_codes_.data() : nullptr;
        blocks.absmax_absmax = twice ? absmax_absmax_.data() : nullptr;
        blocks.absmax_offset = twice ? absmax_offset_.data() : nullptr;
        blocks.absmax_levels = twice ? levels8.levels.data() : nullptr;
        blocks.levels = host_.as.levels.empty() ? nullptr : host_.as.levels.data();
        blocks.count = host_.count;
        blocks.block = host_.as.block;
        blocks.absmax_block = host_.absmax_block;
        blocks.coding = host_.as.coding;
        return blocks;
    }

    QuantizedWeight read() const {
        QuantizedWeight now = host_;
        now.codes = codes_.read();
        now.absmax_codes = absmax_codes_.read();
        now.absmax = absmax_.read();
        now.absmax_absmax = absmax_absmax_.read();
        now.absmax_offset = absmax_offset_.read();
        return now;
    }

    void check_unchanged() const {
        const QuantizedWeight now = read();
        BOOST_TEST((now.codes == host_.codes));
        BOOST_TEST((now.absmax_codes == host_.absmax_codes));
        check_same(now.absmax, host_.absmax);
        check_same(now.absmax_absmax, host_.absmax_absmax);
        check_same(now.absmax_offset, host_.absmax_offset);
    }

private:
    QuantizedWeight host_;
    DeviceArray<unsigned char> codes_, absmax_codes_;
    DeviceArray<float> absmax_, absmax_absmax_, absmax_offset_;
};

}  // namespace conformance
