// Where a merge of two sorted lists is cut, against the merge itself.
#include "backends/cuda/kernels/merge_path.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <random>
#include <vector>

using speft::cuda::find_split;

namespace {

std::vector<std::uint32_t> make_list(std::mt19937 &random, std::size_t count, std::uint32_t below) {
    std::vector<std::uint32_t> list(count);
    for (std::uint32_t &index : list) index = static_cast<std::uint32_t>(random() % below);
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
}

// How many of the first list the merge has taken after each of its elements, by merging.
std::vector<std::uint64_t> merge_splits(const std::vector<std::uint32_t> &first,
                                        const std::vector<std::uint32_t> &second) {
    std::vector<std::uint64_t> splits = {0};
    std::size_t i = 0, j = 0;
    while (i < first.size() || j < second.size()) {
        if (j == second.size() || (i < first.size() && first[i] <= second[j]))
            ++i;
        else
            ++j;
        splits.push_back(i);
    }
    return splits;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_merge_path)

BOOST_AUTO_TEST_CASE(splits_where_a_merge_would) {
    std::mt19937 random(1);
    for (const std::size_t first_count : {0, 1, 2, 7, 64, 300})
        for (const std::size_t second_count : {0, 1, 5, 64, 1000})
            for (const std::uint32_t below : {2u, 300u, 1u << 30}) {  // many in both, some, hardly any
                const auto first = make_list(random, first_count, below);
                const auto second = make_list(random, second_count, below);
                const std::vector<std::uint64_t> expected = merge_splits(first, second);
                for (std::uint64_t length = 0; length < expected.size(); ++length)
                    BOOST_TEST(find_split(first.data(), first.size(), second.data(), second.size(), length) ==
                               expected[length]);
            }
}

BOOST_AUTO_TEST_SUITE_END()
