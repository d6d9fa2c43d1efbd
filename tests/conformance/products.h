// Factors of products, and their values in float64.
#pragma once

#include "speft/gradient.h"
#include "tests/conformance/values.h"

namespace conformance {

inline const std::vector<std::int32_t> weight_layouts = {SPEFT_LAYOUT_OUT_IN, SPEFT_LAYOUT_IN_OUT};

// What products of two vectors are made for; other types are turned into these.
inline const std::vector<std::int32_t> product_types = {SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_BFLOAT16};

inline std::vector<double> values_of(const Tensor &tensor) {
    std::vector<double> values(tensor.size());
    for (std::uint64_t i = 0; i < values.size(); ++i) values[i] = tensor.get(i);
    return values;
}

// Small integers times a power of two: every sum of products is exact in float32, in any order.
inline Tensor make_exact(std::int32_t type, std::uint64_t count, int exponent, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<float> values(count);
    for (float &value : values) value = std::ldexp(static_cast<float>(static_cast<int>(random() % 7) - 3), exponent);
    return Tensor(type, values);
}

inline Tensor make_ordinary(std::int32_t type, std::uint64_t count, std::uint32_t seed) {
    return Tensor(type, make_values(count, Values::ordinary, seed));
}

// The sum in float64, and the sum of magnitudes that scales its error in float32.
struct ProductSum {
    double value = 0;
    double magnitude = 0;

    void add(double product) {
        value += product;
        magnitude += std::fabs(product);
    }
};

}  // namespace conformance
