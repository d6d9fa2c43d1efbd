// Cutting a merge of two sorted lists into parts of equal length (Green, McColl and Bader 2012), so that the parts can
// be merged side by side. Of equal elements the first list's comes first.
#pragma once

#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

// The part of the merge in front of the first `length` elements takes `split` of the first list, and the other
// length − split of the second one. Which splits are possible at all: [least, most].
struct SplitRange {
    std::uint64_t least;
    std::uint64_t most;
};

SPEFT_HOST_DEVICE inline SplitRange possible_splits(std::uint64_t first_count, std::uint64_t second_count,
                                                    std::uint64_t length) {
    return {length > second_count ? length - second_count : 0, length < first_count ? length : first_count};
}

// Whether the split is above `candidate`, one of [least, most): true up to somewhere, false from there on.
SPEFT_HOST_DEVICE inline bool splits_above(const std::uint32_t *first, const std::uint32_t *second,
                                           std::uint64_t length, std::uint64_t candidate) {
    return first[candidate] <= second[length - 1 - candidate];
}

SPEFT_HOST_DEVICE inline std::uint64_t find_split(const std::uint32_t *first, std::uint64_t first_count,
                                                  const std::uint32_t *second, std::uint64_t second_count,
                                                  std::uint64_t length) {
    SplitRange range = possible_splits(first_count, second_count, length);
    while (range.least < range.most) {
        const std::uint64_t middle = (range.least + range.most) / 2;
        if (splits_above(first, second, length, middle))
            range.least = middle + 1;
        else
            range.most = middle;
    }
    return range.least;
}

}  // namespace speft::cuda
