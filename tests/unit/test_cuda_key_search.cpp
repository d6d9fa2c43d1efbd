// The k-th largest key, digit by digit, as the CUDA backend's kernels find it; and how ties are shared out.
#include "backends/cuda/kernels/key_search.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <random>
#include <vector>

using namespace speft::cuda;

namespace {

// What the kernels do with a histogram, bin by bin from the top.
KeySearch find(const std::vector<std::uint32_t> &keys, KeySearch search) {
    unsigned digits = 0;
    for (; !search.is_done(); ++digits) {
        std::vector<std::uint64_t> histogram(digit_bins + 1);
        for (const std::uint32_t key : keys) ++histogram[search.bin_of(key)];
        std::uint32_t bin = digit_bins - 1;
        std::uint64_t above = 0;
        for (; above + histogram[bin] < search.remaining; --bin) above += histogram[bin];
        search.take(bin, above);
    }
    BOOST_TEST(digits <= count_digits(32));
    return search;
}

std::vector<std::uint32_t> draw_keys(std::uint32_t low, std::uint32_t high, unsigned zero_bits, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<std::uint32_t> distance(0, (high - low) >> zero_bits);
    std::vector<std::uint32_t> keys;
    for (int i = 0; i < 1000; ++i) keys.push_back(low + (distance(random) << zero_bits));
    keys.push_back(low);
    return keys;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_key_search)

BOOST_AUTO_TEST_CASE(finds_the_kth_largest_and_how_many_of_its_ties_are_wanted) {
    struct Range {
        std::uint32_t low, high;
        unsigned zero_bits;
    };
    const Range ranges[] = {{0, UINT32_MAX, 0},          {0, UINT32_MAX, 16},        {0x00800000, 0xff800000, 13},
                            {0x80000000, 0x80000000, 0}, {0x80003f00, 0x80003f07, 0}, {0xbe000000, 0xbf800000, 16},
                            {5, 5 + 2048, 0}};
    std::uint32_t seed = 0;
    for (const Range range : ranges) {
        std::vector<std::uint32_t> keys = draw_keys(range.low, range.high, range.zero_bits, ++seed);
        std::sort(keys.begin(), keys.end(), std::greater<>());
        for (std::uint64_t k = 1; k <= keys.size(); k += 100) {
            const KeySearch found = find(keys, begin_search(range.low, range.high, range.zero_bits, k));
            BOOST_TEST(found.key() == keys[k - 1]);
            const auto larger = std::lower_bound(keys.begin(), keys.end(), keys[k - 1], std::greater<>());
            BOOST_TEST(found.remaining == k - static_cast<std::uint64_t>(larger - keys.begin()));
        }
    }
}

BOOST_AUTO_TEST_CASE(ties_go_to_the_first) {
    BOOST_TEST(count_selected({10, 3}, 5) == 13u);
    BOOST_TEST(count_ties_left({10, 3}, 5) == 2u);
    BOOST_TEST(count_selected({10, 8}, 5) == 15u);
    BOOST_TEST(count_ties_left({10, 8}, 5) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
