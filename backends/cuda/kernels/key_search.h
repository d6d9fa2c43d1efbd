// The k-th largest of many keys, digit by digit: the state between two histograms, and what follows from a count.
#pragma once

#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

inline constexpr unsigned digit_bits = 11;
inline constexpr std::uint32_t digit_bins = 1u << digit_bits;

// The number of bits that a value takes.
SPEFT_HOST_DEVICE inline unsigned count_bits(std::uint32_t value) {
    unsigned bits = 0;
    for (; value > 0; value >>= 1) ++bits;
    return bits;
}

struct KeySearch {
    std::uint32_t low = 0;       // no key that counts is lower
    std::uint32_t distance = 0;  // of the k-th largest from `low`, as far as its digits are known
    unsigned unknown_bits = 0;   // of the distance
    unsigned zero_bits = 0;      // the lowest of those, 0 in all keys
    std::uint64_t remaining = 0; // how many more are wanted at or below the digits found so far

    bool operator==(const KeySearch &) const = default;

    SPEFT_HOST_DEVICE bool is_done() const { return unknown_bits <= zero_bits; }

    // The digit that is next: so many bits, so far from the right.
    SPEFT_HOST_DEVICE unsigned bits() const {
        const unsigned left = unknown_bits - zero_bits;
        return left < digit_bits ? left : digit_bits;
    }
    SPEFT_HOST_DEVICE unsigned shift() const { return unknown_bits - bits(); }

    // The bin of a key in the histogram of the next digit; `digit_bins` or more where a digit before is another.
    SPEFT_HOST_DEVICE std::uint32_t bin_of(std::uint32_t key) const {
        const std::uint32_t bin = (key - low - distance) >> shift();
        return bin < 1u << bits() ? bin : digit_bins;
    }

    // The next digit is `bin`, above which there are `above` keys.
    SPEFT_HOST_DEVICE void take(std::uint32_t bin, std::uint64_t above) {
        distance |= bin << shift();
        unknown_bits -= bits();
        remaining -= above;
    }

    SPEFT_HOST_DEVICE std::uint32_t key() const { return low + distance; }
};

// The k-th largest of keys in [low, high].
SPEFT_HOST_DEVICE inline KeySearch begin_search(std::uint32_t low, std::uint32_t high, unsigned zero_bits,
                                                std::uint64_t k) {
    KeySearch search{};
    search.low = low;
    search.unknown_bits = count_bits(high - low);
    search.zero_bits = zero_bits;
    search.remaining = k;
    return search;
}

// How many histograms find a key of `bits` bits.
constexpr unsigned count_digits(unsigned bits) { return (bits + digit_bits - 1) / digit_bits; }

// Of the keys before some place, in the order of tensors and indices: those above the threshold, and those equal to it.
struct KeysBefore {
    std::uint64_t above;
    std::uint64_t equal;
};

// How many of the keys before are selected, where the first `ties` of the equal ones are.
SPEFT_HOST_DEVICE inline std::uint64_t count_selected(KeysBefore before, std::uint64_t ties) {
    return before.above + (before.equal < ties ? before.equal : ties);
}

// How many of the equal ones after this place are still to be selected.
SPEFT_HOST_DEVICE inline std::uint64_t count_ties_left(KeysBefore before, std::uint64_t ties) {
    return before.equal < ties ? ties - before.equal : 0;
}

}  // namespace speft::cuda
