// Division by a multiplication, against the machine's own: numbers around the multiples of each divisor, and extremes.
#include "backends/cuda/kernels/divider.h"

#include <boost/test/unit_test.hpp>
#include <random>

using speft::cuda::Divider;

namespace {

void check(std::uint32_t number, std::uint32_t divisor) {
    const std::uint32_t quotient = Divider(divisor)(number);
    if (quotient != number / divisor)
        BOOST_FAIL(number << " / " << divisor << " is not " << quotient);
}

void check_around_multiples(std::uint32_t divisor, std::mt19937 &random) {
    for (const std::uint32_t number : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu})
        check(number, divisor);
    for (int i = 0; i < 50; ++i) {
        const auto multiple =
            static_cast<std::uint32_t>((std::uint64_t{random()} * (0xffffffffu / divisor + 1ull) >> 32) * divisor);
        for (const std::uint32_t number : {multiple - 1, multiple, multiple + 1}) check(number, divisor);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_divider)

BOOST_AUTO_TEST_CASE(divides_exactly) {
    std::mt19937 random(1);
    for (std::uint32_t divisor = 1; divisor < 3000; ++divisor) check_around_multiples(divisor, random);
    for (unsigned bit = 11; bit < 32; ++bit)
        for (const std::uint32_t divisor : {(1u << bit) - 1, 1u << bit, (1u << bit) + 1})
            check_around_multiples(divisor, random);
    for (int i = 0; i < 3000; ++i) check_around_multiples(static_cast<std::uint32_t>(random()) | 1, random);
    check_around_multiples(0xffffffffu, random);
}

BOOST_AUTO_TEST_SUITE_END()
