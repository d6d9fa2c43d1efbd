// Moments in every type that they are kept in: on the host, where truth is computed, and on a device.
#pragma once

#include <algorithm>

#include "core/base/block_code.h"
#include "tests/conformance/segments.h"

namespace conformance {

inline const std::vector<std::int32_t> moment_types = {SPEFT_STATE_FLOAT32, SPEFT_STATE_BFLOAT16, SPEFT_STATE_BLOCKS8};

// The code whose value is nearest, found among all of them; the lower one of two.
inline std::uint8_t find_nearest_code(const speft::BlockCode &code, float share) {
    int nearest = 0;
    for (int number = 1; number < 256; ++number)
        if (std::fabs(static_cast<double>(share) - static_cast<double>(code.values[number])) <
            std::fabs(static_cast<double>(share) - static_cast<double>(code.values[nearest])))
            nearest = number;
    return static_cast<std::uint8_t>(nearest);
}

struct HostMoments {
    std::int32_t type = SPEFT_STATE_FLOAT32;
    bool is_signed = true;
    std::uint32_t rounding_key = 0;
    std::vector<unsigned char> bytes{};
    std::vector<float> scales{};

    HostMoments() = default;
    HostMoments(std::int32_t of_type, bool with_sign, std::uint32_t key, const std::vector<float> &values)
        : type(of_type), is_signed(with_sign), rounding_key(key), bytes(values.size() * width()),
          scales(of_type == SPEFT_STATE_BLOCKS8 ? (values.size() + 63) / 64 : 0) {
        store(values);
    }

    std::uint64_t width() const { return type == SPEFT_STATE_FLOAT32 ? 4 : type == SPEFT_STATE_BFLOAT16 ? 2 : 1; }
    std::uint64_t count() const { return bytes.size() / width(); }
    const speft::BlockCode &code() const {
        return is_signed ? speft::signed_block_code : speft::unsigned_block_code;
    }

    std::vector<float> load() const {
        std::vector<float> values(count());
        for (std::uint64_t j = 0; j < values.size(); ++j) {
            std::uint32_t bits = 0;
            std::memcpy(&bits, bytes.data() + j * width(), width());
            if (type == SPEFT_STATE_BLOCKS8) {
                const float scale = scales[j / 64];
                values[j] = scale == 0 ? 0 : rounded(code().values[bits] * scale);
            } else {
                values[j] = speft::bit_copy<float>(type == SPEFT_STATE_BFLOAT16 ? bits << 16 : bits);
            }
        }
        return values;
    }

    void store(const std::vector<float> &values) {
        for (std::uint64_t block = 0; block < scales.size(); ++block) scales[block] = scale_of(values, block);
        for (std::uint64_t j = 0; j < values.size(); ++j) {
            std::uint32_t bits = speft::bit_copy<std::uint32_t>(values[j]);
            if (type == SPEFT_STATE_BFLOAT16) bits = round_at_random(values[j], j);
            if (type == SPEFT_STATE_BLOCKS8) {
                const float scale = scales[j / 64];
                bits = scale > 0 ? find_nearest_code(code(), rounded(values[j] / scale)) : 0;
            }
            std::memcpy(bytes.data() + j * width(), &bits, width());
        }
    }

private:
    static float scale_of(const std::vector<float> &values, std::uint64_t block) {
        float scale = 0;
        for (std::uint64_t j = 64 * block; j < std::min<std::uint64_t>(64 * block + 64, values.size()); ++j) {
            if (!std::isfinite(values[j])) return std::numeric_limits<float>::quiet_NaN();
            scale = std::max(scale, std::fabs(values[j]));
        }
        return scale;
    }

    std::uint32_t round_at_random(float value, std::uint64_t j) const {
        if (!std::isfinite(value)) return speft::from_float<speft::BFloat16>(value).bits;
        const std::uint32_t bits = speft::bit_copy<std::uint32_t>(value);
        return (bits >> 16) +
               ((bits & 0xffffu) + draw_sixteen_bits(rounding_key, static_cast<std::uint32_t>(j)) > 0xffffu);
    }
};

struct DeviceMoments {
    DeviceMoments(Device &device, const HostMoments &moments)
        : host(moments), bytes(device, moments.bytes.data(), moments.bytes.size(), moments.width()),
          scales(device, moments.scales) {}

    speft_moments view() const {
        return {bytes.data(), host.type == SPEFT_STATE_BLOCKS8 ? scales.data() : nullptr, host.type,
                host.rounding_key};
    }
    HostMoments read() const {
        HostMoments moments = host;
        bytes.read(moments.bytes.data());
        moments.scales = scales.read();
        return moments;
    }

    HostMoments host;
    DeviceBytes bytes;
    DeviceArray<float> scales;
};

// Codes bit for bit; scales and values but for what NaN it is.
inline void check_same(const HostMoments &actual, const HostMoments &expected) {
    if (expected.type == SPEFT_STATE_BLOCKS8) BOOST_TEST((actual.bytes == expected.bytes));
    check_same(actual.scales, expected.scales);
    check_same(actual.load(), expected.load());
}

inline const char *name_of_decay(std::int32_t kind) {
    constexpr const char *names[] = {"to original", "to zero", "after the update"};
    return names[kind];
}

// φ before an update and after it, as optimizer.h has decay.
inline float decay_first(const HostSegment &segment, std::uint64_t j, std::int32_t kind, float factor) {
    const float delta = segment.deltas.get(j);
    if (kind == SPEFT_DECAY_AFTER_UPDATE) return delta;
    const bool to_weight = kind == SPEFT_DECAY_TO_ZERO && !segment.absolute;
    const float decayed = to_weight ? segment.weights.get(segment.place(j)) : delta;
    return rounded(delta - rounded(factor * decayed));
}

inline float decay_last(float delta, std::int32_t kind, float factor) {
    return kind == SPEFT_DECAY_AFTER_UPDATE ? rounded(delta - rounded(factor * delta)) : delta;
}

// The gradient where decay is added to it.
inline float couple(const HostSegment &segment, std::uint64_t j, std::int32_t kind, float factor, float gradient) {
    if (kind == SPEFT_DECAY_AFTER_UPDATE) return gradient;
    const bool to_weight = kind == SPEFT_DECAY_TO_ZERO && !segment.absolute;
    const float decayed = to_weight ? segment.weights.get(segment.place(j)) : segment.deltas.get(j);
    return rounded(gradient + rounded(factor * decayed));
}

}  // namespace conformance
