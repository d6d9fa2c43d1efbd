#include "core/storage/gaps.h"

#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "core/storage/defect.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

using Gaps = std::vector<std::uint16_t>;
using Indices = std::vector<std::uint32_t>;

struct Pair {
    Indices indices;
    Gaps gaps;
};

// Written by hand from the definition in docs/file-format.md.
const Pair pairs[] = {
    {{}, {}},
    {{0}, {0}},
    {{0, 1, 2}, {0, 0, 0}},
    {{5, 7, 100}, {5, 1, 92}},
    {{65534}, {65534}},
    {{65535}, {65535, 0}},
    {{65536}, {65535, 1}},
    {{0, 65535, 131071}, {0, 65534, 65535, 0}},
    {{131070}, {65535, 65535, 0}},
    {{4294967294}, [] {
         Gaps gaps(65536, 65535);  // 65536 · 65535 = 4294901760
         gaps.push_back(65534);
         return gaps;
     }()},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(gaps)

BOOST_AUTO_TEST_CASE(agree_with_the_definition_both_ways) {
    for (const Pair &pair : pairs) {
        BOOST_TEST(encode_gaps(pair.indices) == pair.gaps, boost::test_tools::per_element());
        const Indices decoded = decode_gaps(pair.gaps, pair.indices.size(), 0xffffffffu);
        BOOST_TEST(decoded == pair.indices, boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(round_trip_random_masks) {
    Draws draws(1);
    for (int round = 0; round < 200; ++round) {
        const auto size = static_cast<std::uint32_t>(1 + draws.below(std::uint64_t{1} << (1 + draws.below(31))));
        const auto count = static_cast<std::uint32_t>(draws.below(std::min(size, 300u) + 1));
        const Indices indices = draw_mask(draws, size, count);
        const Indices decoded = decode_gaps(encode_gaps(indices), count, size);
        BOOST_TEST(decoded == indices, boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(that_lie_are_refused) {
    BOOST_CHECK_THROW(decode_gaps(Gaps{3}, 1, 3), Defect);             // index 3 of 3 scalars
    BOOST_CHECK_THROW(decode_gaps(Gaps{0, 0}, 1, 3), Defect);          // more than counted
    BOOST_CHECK_THROW(decode_gaps(Gaps{0}, 2, 3), Defect);             // fewer
    BOOST_CHECK_THROW(decode_gaps(Gaps{65535}, 0, 100000), Defect);    // cut off
    BOOST_CHECK_THROW(decode_gaps(Gaps{1, 65535}, 1, 100000), Defect);
    BOOST_CHECK_THROW(decode_gaps(Gaps(65537, 65535), 0, 0xffffffffu), Defect);
    BOOST_CHECK_NO_THROW(decode_gaps(Gaps{2}, 1, 3));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
