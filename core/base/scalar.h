// The element types of the host's tensors, and their conversion to and from float32: to nearest even, denormals kept.
// Host and device compile the same code.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define SPEFT_HOST_DEVICE __host__ __device__
#else
#define SPEFT_HOST_DEVICE
#endif

namespace speft {

template <class To, class From>
SPEFT_HOST_DEVICE inline To bit_copy(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

struct BFloat16 {
    std::uint16_t bits;
};

struct Float16 {
    std::uint16_t bits;
};

SPEFT_HOST_DEVICE inline float to_float(float value) { return value; }

SPEFT_HOST_DEVICE inline float to_float(BFloat16 value) {
    return bit_copy<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

SPEFT_HOST_DEVICE inline float to_float(Float16 value) {
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
    const std::uint32_t magnitude = value.bits & 0x7fffu;
    if (magnitude >= 0x7c00u)  // infinity or NaN
        return bit_copy<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    if (magnitude < 0x400u) {  // zero or denormal: an integer count of 2^-24
        const float scaled = static_cast<float>(magnitude) * 0x1p-24f;
        return bit_copy<float>(bit_copy<std::uint32_t>(scaled) | sign);
    }
    return bit_copy<float>(sign | ((magnitude << 13) + 0x38000000u));
}

template <class Scalar>
Scalar from_float(float value);

template <>
SPEFT_HOST_DEVICE inline float from_float<float>(float value) {
    return value;
}

template <>
SPEFT_HOST_DEVICE inline BFloat16 from_float<BFloat16>(float value) {
    const std::uint32_t bits = bit_copy<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)  // NaN stays NaN: rounding could carry it to infinity
        return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
    return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <>
SPEFT_HOST_DEVICE inline Float16 from_float<Float16>(float value) {
    const std::uint32_t bits = bit_copy<std::uint32_t>(value);
    const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
    if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // 65520 and above
    if (magnitude < 0x38800000u) {  // below 2^-14: let a float addition round to a count of 2^-24
        const float rounded = bit_copy<float>(magnitude) + 0.5f;
        return {static_cast<std::uint16_t>(sign | (bit_copy<std::uint32_t>(rounded) - 0x3f000000u))};
    }
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return {static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u) >> 13))};
}

// To one of the two neighbours in bfloat16, the nearer one with the higher probability: `bits` are 16 random ones, and
// the expected value is the value. What bfloat16 holds already stays as it is.
SPEFT_HOST_DEVICE inline BFloat16 round_stochastically(float value, std::uint32_t bits) {
    const std::uint32_t exact = bit_copy<std::uint32_t>(value);
    if ((exact & 0x7f800000u) == 0x7f800000u) return from_float<BFloat16>(value);  // infinity or NaN
    return {static_cast<std::uint16_t>((exact + bits) >> 16)};
}

}  // namespace speft
