#include "core/storage/float_code.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/base/scalar.h"

namespace speft {

namespace {

// What bfloat16 holds is not rounded, which would set the quiet bit of a NaN.
template <class Scalar>
Scalar narrow(float value) {
    if constexpr (sizeof(Scalar) == sizeof(float)) {
        return value;
    } else if constexpr (std::is_same_v<Scalar, BFloat16>) {
        const auto bits = bit_copy<std::uint32_t>(value);
        if ((bits & 0xffffu) == 0) return {static_cast<std::uint16_t>(bits >> 16)};
    }
    return from_float<Scalar>(value);
}

template <class Scalar>
std::vector<std::byte> encode(std::span<const float> values) {
    std::vector<std::byte> bytes(values.size() * sizeof(Scalar));
    for (std::size_t i = 0; i < values.size(); ++i) {
        const Scalar scalar = narrow<Scalar>(values[i]);
        std::memcpy(bytes.data() + i * sizeof scalar, &scalar, sizeof scalar);
    }
    return bytes;
}

template <class Scalar>
void decode(std::span<const std::byte> bytes, std::span<float> values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        Scalar scalar;
        std::memcpy(&scalar, bytes.data() + i * sizeof scalar, sizeof scalar);
        values[i] = to_float(scalar);
    }
}

}  // namespace

const char *get_type_name(ScalarType type) {
    switch (type) {
    case ScalarType::bfloat16: return "BF16";
    case ScalarType::float16: return "F16";
    default: return "F32";
    }
}

std::vector<std::byte> encode_floats(std::span<const float> values, ScalarType type) {
    switch (type) {
    case ScalarType::bfloat16: return encode<BFloat16>(values);
    case ScalarType::float16: return encode<Float16>(values);
    default: return encode<float>(values);
    }
}

void decode_floats(std::span<const std::byte> bytes, ScalarType type, std::span<float> values) {
    switch (type) {
    case ScalarType::bfloat16: return decode<BFloat16>(bytes, values);
    case ScalarType::float16: return decode<Float16>(bytes, values);
    default: return decode<float>(bytes, values);
    }
}

}  // namespace speft
