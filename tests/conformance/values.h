// What the operations are fed: lengths around the boundaries of vectors and of pieces of work, values of every kind,
// tensors of every type. Random numbers come from the bits of std::mt19937 alone, so they are the same everywhere.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "core/base/scalar.h"
#include "speft/backend.h"
#include "tests/conformance/backends.h"

namespace conformance {

inline const std::vector<std::uint64_t> lengths = {0,  1,  2,   3,    7,    8,    9,     15,    16,   17,
                                                   63, 64, 1025, 4095, 4096, 4097, 16385, 65537, 70001};

inline const std::vector<std::int32_t> scalar_types = {SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_BFLOAT16,
                                                       SPEFT_SCALAR_FLOAT16};

// `special`: every other value is a NaN, an infinity, a denormal, a zero of either sign, or an extreme.
enum class Values { ordinary, equal, few, special };
inline const std::vector<Values> kinds_of_values = {Values::ordinary, Values::equal, Values::few, Values::special};

inline std::ostream &operator<<(std::ostream &out, Values values) {
    constexpr const char *names[] = {"ordinary", "equal", "few", "special"};
    return out << names[static_cast<int>(values)];
}

// In [−1, 1), never a rounding away from it.
inline float draw_signed_unit(std::mt19937 &random) {
    return static_cast<float>(static_cast<std::int32_t>(random()) >> 8) * 0x1p-23f;
}

inline std::vector<float> make_values(std::uint64_t count, Values kind, std::uint32_t seed) {
    constexpr float special[] = {std::numeric_limits<float>::quiet_NaN(),
                                 std::numeric_limits<float>::infinity(),
                                 -std::numeric_limits<float>::infinity(),
                                 0.0f,
                                 -0.0f,
                                 0x1p-149f,
                                 -0x1.8p-130f,
                                 0x1p-24f,
                                 0x1p-126f,
                                 std::numeric_limits<float>::max(),
                                 -65504.0f};
    std::mt19937 random(seed);
    std::vector<float> values(count);
    for (float &value : values) {
        // Magnitudes over several binades, as weights and gradients have.
        value = std::ldexp(draw_signed_unit(random), -static_cast<int>(random() % 8));
        if (kind == Values::equal) value = 0.375f;
        if (kind == Values::few) value = static_cast<float>(static_cast<int>(random() % 5) - 2) * 0.25f;
        if (kind == Values::special && random() % 2) value = special[random() % std::size(special)];
    }
    return values;
}

// About one of `stride` of the indices below `size`, rising; the first and the last among them.
inline std::vector<std::uint32_t> make_mask(std::uint64_t size, std::uint32_t stride, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::uint32_t> indices;
    for (std::uint64_t i = 0; i < size; ++i)
        if (i == 0 || i + 1 == size || random() % stride == 0) indices.push_back(static_cast<std::uint32_t>(i));
    return indices;
}

// A tensor of a host, of any type.
class Tensor {
public:
    Tensor(std::int32_t type, std::uint64_t count) : type_(type), bytes_(count * width(type)) {}
    // Rounded to the type.
    Tensor(std::int32_t type, const std::vector<float> &values) : Tensor(type, values.size()) {
        for (std::uint64_t i = 0; i < values.size(); ++i) set(i, values[i]);
    }

    static std::uint64_t width(std::int32_t type) { return type == SPEFT_SCALAR_FLOAT32 ? 4 : 2; }

    std::int32_t type() const { return type_; }
    std::uint64_t size() const { return bytes_.size() / width(type_); }
    std::vector<unsigned char> &bytes() { return bytes_; }

    float get(std::uint64_t i) const {
        const std::uint32_t bits = get_bits(i);
        switch (type_) {
        case SPEFT_SCALAR_FLOAT32: return speft::bit_copy<float>(bits);
        case SPEFT_SCALAR_BFLOAT16: return speft::to_float(speft::BFloat16{static_cast<std::uint16_t>(bits)});
        default: return speft::to_float(speft::Float16{static_cast<std::uint16_t>(bits)});
        }
    }

    void set(std::uint64_t i, float value) {
        switch (type_) {
        case SPEFT_SCALAR_FLOAT32: return set_bits(i, speft::bit_copy<std::uint32_t>(value));
        case SPEFT_SCALAR_BFLOAT16: return set_bits(i, speft::from_float<speft::BFloat16>(value).bits);
        default: return set_bits(i, speft::from_float<speft::Float16>(value).bits);
        }
    }

    std::uint32_t get_bits(std::uint64_t i) const {
        std::uint32_t bits = 0;  // little-endian, as every machine with a backend is
        std::memcpy(&bits, bytes_.data() + i * width(type_), width(type_));
        return bits;
    }

    void set_bits(std::uint64_t i, std::uint32_t bits) {
        std::memcpy(bytes_.data() + i * width(type_), &bits, width(type_));
    }

    bool operator==(const Tensor &) const = default;

private:
    std::int32_t type_;
    std::vector<unsigned char> bytes_;
};

class DeviceTensor {
public:
    DeviceTensor(Device &device, Tensor tensor)
        : host_(std::move(tensor)),
          memory_(device, host_.bytes().data(), host_.bytes().size(), Tensor::width(host_.type())) {}

    void *data() const { return memory_.data(); }
    Tensor read() const {
        Tensor tensor(host_.type(), host_.size());
        memory_.read(tensor.bytes().data());
        return tensor;
    }

private:
    Tensor host_;
    DeviceBytes memory_;
};

// Bit for bit, but that any NaN equals any NaN.
inline bool same(float a, float b) {
    return std::isnan(a) ? std::isnan(b) : speft::bit_copy<std::uint32_t>(a) == speft::bit_copy<std::uint32_t>(b);
}

inline bool same(const std::vector<float> &a, const std::vector<float> &b, std::uint64_t i) {
    return same(a[i], b[i]);
}

inline bool same(const Tensor &a, const Tensor &b, std::uint64_t i) {
    return a.get_bits(i) == b.get_bits(i) || (std::isnan(a.get(i)) && std::isnan(b.get(i)));
}

inline float get(const std::vector<float> &values, std::uint64_t i) { return values[i]; }
inline float get(const Tensor &values, std::uint64_t i) { return values.get(i); }

// Names the first element that differs.
template <class Array>
void check_same(const Array &actual, const Array &expected) {
    BOOST_REQUIRE_EQUAL(actual.size(), expected.size());
    std::uint64_t i = 0;
    while (i < actual.size() && same(actual, expected, i)) ++i;
    if (i < actual.size())
        BOOST_FAIL("element " << i << " of " << actual.size() << " is " << get(actual, i) << ", expected "
                              << get(expected, i));
}

// One rounding each: a volatile result cannot be contracted with the operation that uses it.
inline float rounded(float value) {
    const volatile float stored = value;
    return stored;
}

}  // namespace conformance
