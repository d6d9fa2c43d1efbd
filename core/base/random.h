// Random numbers without state: every draw is a function of a key and a counter, so that any thread, rank or device
// derives the same mask, and a mask can be named by its seed.
//
// Exactly k of N: the mask is the image of [0, k) under a keyed permutation of [0, N), a Feistel network with cycle
// walking (Black and Rogaway 2002). Cost ~ k whatever N is; membership of one index costs one inverse.
// Integer arithmetic only, so that every backend agrees to the bit.
#pragma once

#include <cstdint>
#include <string_view>

#include "feistel_network.h"
#include "scalar.h"

namespace speft {

// A bijective mixer of 64 bits: Stafford's variant 13 of MurmurHash3's finalizer, as SplitMix64 uses it.
SPEFT_HOST_DEVICE inline std::uint64_t mix64(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// A bijective mixer of 32 bits: Wellons' "lowbias32".
SPEFT_HOST_DEVICE inline std::uint32_t mix32(std::uint32_t z) {
    z = (z ^ (z >> 16)) * 0x7feb352du;
    z = (z ^ (z >> 15)) * 0x846ca68bu;
    return z ^ (z >> 16);
}

// FNV-1a over the name, mixed with the seed: same-shaped parameters of other names get other masks.
inline std::uint64_t make_key(std::uint64_t seed, std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325ull;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    return mix64(mix64(seed + 0x9e3779b97f4a7c15ull) ^ hash);
}

// The 64-bit draw of one counter.
SPEFT_HOST_DEVICE inline std::uint64_t draw64(std::uint64_t key, std::uint64_t counter) {
    return mix64(key ^ mix64(counter + 0x9e3779b97f4a7c15ull));
}

// 16 random bits for stochastic rounding, in the low half. Cheap enough for every weight of every step.
SPEFT_HOST_DEVICE inline std::uint32_t draw_bits(std::uint32_t key, std::uint32_t counter) {
    return mix32(key ^ (counter * 0x9e3779b9u)) >> 16;
}

// That of a Permutation of [0, size).
SPEFT_HOST_DEVICE inline FeistelNetwork make_feistel_network(std::uint64_t key, std::uint64_t size) {
    unsigned bits = 8;  // halves of fewer than 4 bits mix measurably worse; the walk out of 256 is cheap
    while ((std::uint64_t{1} << bits) < size) ++bits;
    FeistelNetwork network{};
    network.right_bits = bits / 2;
    network.right_mask = (1u << network.right_bits) - 1u;
    network.left_mask = (1u << (bits - network.right_bits)) - 1u;
    for (unsigned round = 0; round < FeistelNetwork::rounds; ++round)
        network.keys[round] = static_cast<std::uint32_t>(draw64(key, round) >> 32);
    return network;
}

// A permutation of [0, size), 1 <= size < 2^32. `left` holds the high half of the bits and `right` the low half; a
// round replaces one of them by its sum with a hash of the other, alternating, so that halves may differ in width.
class Permutation {
public:
    SPEFT_HOST_DEVICE Permutation(std::uint64_t key, std::uint64_t size)
        : size_(size), network_(make_feistel_network(key, size)) {}

    SPEFT_HOST_DEVICE std::uint32_t operator()(std::uint32_t index) const {
        do index = forward(index);
        while (index >= size_);
        return index;
    }

    SPEFT_HOST_DEVICE std::uint32_t inverse(std::uint32_t index) const {
        do index = backward(index);
        while (index >= size_);
        return index;
    }

private:
    static constexpr unsigned rounds = FeistelNetwork::rounds;

    SPEFT_HOST_DEVICE std::uint32_t forward(std::uint32_t index) const {
        std::uint32_t left = index >> network_.right_bits, right = index & network_.right_mask;
        for (unsigned round = 0; round < rounds; round += 2) {
            left = (left + mix32(right ^ network_.keys[round])) & network_.left_mask;
            right = (right + mix32(left ^ network_.keys[round + 1])) & network_.right_mask;
        }
        return (left << network_.right_bits) | right;
    }

    SPEFT_HOST_DEVICE std::uint32_t backward(std::uint32_t index) const {
        std::uint32_t left = index >> network_.right_bits, right = index & network_.right_mask;
        for (unsigned round = rounds; round > 0; round -= 2) {
            right = (right - mix32(left ^ network_.keys[round - 1])) & network_.right_mask;
            left = (left - mix32(right ^ network_.keys[round - 2])) & network_.left_mask;
        }
        return (left << network_.right_bits) | right;
    }

    std::uint64_t size_;
    FeistelNetwork network_;
};

}  // namespace speft
