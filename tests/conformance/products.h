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

// What a target becomes: base + scale · the sum, to be rounded once.
inline ProductSum apply(const ProductSum &sum, double scale, double base) {
    return {base + scale * sum.value, std::fabs(base) + std::fabs(scale) * sum.magnitude};
}

// Of sums that float32 holds: each one rounded to the type.
inline void check_exact(const Tensor &actual, const std::vector<ProductSum> &expected) {
    Tensor rounded(actual.type(), expected.size());
    for (std::uint64_t i = 0; i < expected.size(); ++i) rounded.set(i, static_cast<float>(expected[i].value));
    check_same(actual, rounded);
}

// A term is rounded as a product, in at most `terms` additions by itself and as many of what is there, and with the
// scale, each time by half of 2^-23 of the magnitude so far; then the sum is rounded to the type.
inline void check_near(const Tensor &actual, const std::vector<ProductSum> &expected, std::uint64_t terms) {
    const double in_sum = (2.0 * static_cast<double>(terms) + 3.0) * 0x1p-24;
    const double at_end = actual.type() == SPEFT_SCALAR_FLOAT32    ? 0x1p-24
                          : actual.type() == SPEFT_SCALAR_BFLOAT16 ? 0x1p-8
                                                                   : 0x1p-11;
    constexpr double smallest = 0x1p-25;  // half of float16's smallest denormal
    BOOST_REQUIRE_EQUAL(actual.size(), expected.size());
    for (std::uint64_t i = 0; i < expected.size(); ++i) {
        const double tolerance = (in_sum + at_end) * expected[i].magnitude + smallest * (at_end == 0x1p-11);
        if (!(std::fabs(actual.get(i) - expected[i].value) <= tolerance))
            BOOST_FAIL("element " << i << " is " << actual.get(i) << ", expected " << expected[i].value);
    }
}

}  // namespace conformance
