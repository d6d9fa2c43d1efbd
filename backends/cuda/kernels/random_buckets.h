// How the images of a random mask are shared out before they are sorted: each row's range is cut into buckets of equal
// width, a power of two, which a block's shared memory mostly holds.
#pragma once

#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

struct RandomBuckets {
    static constexpr std::uint64_t mean = 1024;      // images that a bucket has at most on average
    static constexpr std::uint32_t capacity = 2048;  // images that are sorted at a time

    std::uint64_t size;  // of a row
    std::uint64_t rows;
    std::uint64_t k;  // of a row
    unsigned width_bits;
    std::uint64_t buckets;  // of a row

    RandomBuckets(std::uint64_t size_, std::uint64_t rows_, std::uint64_t k_)
        : size(size_), rows(rows_), k(k_), width_bits(0), buckets(0) {
        // As wide as leaves `mean` or fewer: k·width/size. Neither product passes 2^64.
        while (width_bits < 32 && (k << width_bits) <= mean * (size >> 1)) ++width_bits;
        buckets = size > 0 ? ((size - 1) >> width_bits) + 1 : 0;
    }

    SPEFT_HOST_DEVICE std::uint64_t count() const { return rows * buckets; }
    SPEFT_HOST_DEVICE std::uint64_t find(std::uint64_t row, std::uint32_t image) const {
        return row * buckets + (std::uint64_t{image} >> width_bits);
    }
    // The first value of a bucket of its row, and the first past it.
    SPEFT_HOST_DEVICE std::uint64_t begin_of(std::uint64_t bucket) const { return bucket % buckets << width_bits; }
    SPEFT_HOST_DEVICE std::uint64_t end_of(std::uint64_t bucket) const {
        const std::uint64_t end = begin_of(bucket) + (std::uint64_t{1} << width_bits);
        return end < size ? end : size;
    }
};

}  // namespace speft::cuda
