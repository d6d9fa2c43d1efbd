// The CUDA backend's sums in fixed point: the same in any order, and as good as float64's.
#include "backends/cuda/kernels/exact_sum.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>
#include <vector>

using namespace speft;
using namespace speft::cuda;

namespace {

double sum(const std::vector<double> &values) {
    const double unit = fixed_point_unit(*std::max_element(values.begin(), values.end()));
    FixedPoint total = {0, 0};
    for (const double value : values) {
        const FixedPoint part = to_fixed_point(value, unit);
        total.high += part.high;
        total.low += part.low;
    }
    return from_fixed_point(total, unit);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_exact_sum)

// The squares of the smallest and the largest gradient are among them.
BOOST_AUTO_TEST_CASE(units_bring_the_largest_just_below_two_to_the_63rd) {
    for (int exponent = -298; exponent < 256; ++exponent)
        for (const double largest : {std::ldexp(1.0, exponent), std::ldexp(std::nextafter(2.0, 0.0), exponent)}) {
            const double scaled = largest * fixed_point_unit(largest);
            BOOST_REQUIRE_GE(scaled, 0x1p62);
            BOOST_REQUIRE_LT(scaled, 0x1p63);
        }
}

BOOST_AUTO_TEST_CASE(zeros_have_a_sum_of_zero) { BOOST_TEST(sum({0.0, 0.0}) == 0.0); }

BOOST_AUTO_TEST_CASE(order_changes_nothing) {
    std::mt19937 random(1);
    std::vector<double> values(10000);
    for (double &value : values) value = std::ldexp(random() % 1000003, -static_cast<int>(random() % 90));
    const double first = sum(values);
    std::shuffle(values.begin(), values.end(), random);
    BOOST_TEST(sum(values) == first);
    long double exact = 0;
    for (const double value : values) exact += value;
    BOOST_CHECK_CLOSE_FRACTION(first, static_cast<double>(exact), 0x1p-48);
}

// The low half is carried: many parts that are all ones.
BOOST_AUTO_TEST_CASE(halves_are_put_together) {
    const std::vector<double> values(100000, 1 - 0x1p-53);
    BOOST_CHECK_CLOSE_FRACTION(sum(values), 100000 * (1 - 0x1p-53), 0x1p-52);
}

BOOST_AUTO_TEST_SUITE_END()
