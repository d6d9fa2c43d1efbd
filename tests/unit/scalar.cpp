// Conversions between float32 and the 16-bit types, against the definition: the nearest value, ties to the even one.
#include "core/base/scalar.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace speft;

namespace {

// Every finite value of a 16-bit type with its bits, from the type's own layout.
struct Layout {
    int exponent_bits;
    int fraction_bits;
};

double value_of(std::uint16_t bits, Layout layout) {
    const int bias = (1 << (layout.exponent_bits - 1)) - 1;
    const int exponent = (bits >> layout.fraction_bits) & ((1 << layout.exponent_bits) - 1);
    const int fraction = bits & ((1 << layout.fraction_bits) - 1);
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << layout.exponent_bits) - 1)
        return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - layout.fraction_bits);
    return sign * std::ldexp((1 << layout.fraction_bits) + fraction, exponent - bias - layout.fraction_bits);
}

template <class Scalar>
void check_type(Layout layout) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto narrow = static_cast<std::uint16_t>(bits);
        const double value = value_of(narrow, layout);
        const float wide = to_float(Scalar{narrow});
        if (std::isnan(value)) {
            BOOST_REQUIRE(std::isnan(wide));
            BOOST_REQUIRE(std::isnan(to_float(from_float<Scalar>(wide))));
            continue;
        }
        BOOST_REQUIRE_EQUAL(static_cast<double>(wide), value);
        BOOST_REQUIRE_EQUAL(from_float<Scalar>(wide).bits, narrow);

        // Between two neighbours: the middle goes to the even one, a float beside it to the nearer one.
        const double next = value_of(static_cast<std::uint16_t>(bits + 1), layout);
        if ((bits & 0x7fff) == 0x7fff || !std::isfinite(next) || !std::isfinite(value)) continue;
        const auto middle = static_cast<float>((value + next) / 2);
        if (static_cast<double>(middle) != (value + next) / 2) continue;  // below float32's denormals
        const std::uint16_t even = bits & 1 ? narrow + 1 : narrow;
        BOOST_REQUIRE_EQUAL(from_float<Scalar>(middle).bits, even);
        BOOST_REQUIRE_EQUAL(from_float<Scalar>(std::nextafter(middle, static_cast<float>(value))).bits, narrow);
        BOOST_REQUIRE_EQUAL(from_float<Scalar>(std::nextafter(middle, static_cast<float>(next))).bits, narrow + 1);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scalar)

BOOST_AUTO_TEST_CASE(bfloat16_rounds_to_nearest_even) { check_type<BFloat16>({8, 7}); }

BOOST_AUTO_TEST_CASE(float16_rounds_to_nearest_even) { check_type<Float16>({5, 10}); }

BOOST_AUTO_TEST_CASE(what_is_beyond_the_largest_becomes_infinite) {
    BOOST_TEST(from_float<Float16>(65519.0f).bits == 0x7bff);
    BOOST_TEST(from_float<Float16>(65520.0f).bits == 0x7c00);
    BOOST_TEST(from_float<Float16>(-1e10f).bits == 0xfc00);
    BOOST_TEST(from_float<BFloat16>(std::numeric_limits<float>::max()).bits == 0x7f80);
}

BOOST_AUTO_TEST_SUITE_END()
