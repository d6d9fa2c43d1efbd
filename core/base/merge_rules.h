// What merging and unmerging do with a weight, by what they find there.
#pragma once

#include <cstdint>

#include "scalar.h"

namespace speft {

SPEFT_HOST_DEVICE inline std::uint32_t bits_of(float value) { return bit_copy<std::uint32_t>(value); }
SPEFT_HOST_DEVICE inline std::uint32_t bits_of(BFloat16 value) { return value.bits; }
SPEFT_HOST_DEVICE inline std::uint32_t bits_of(Float16 value) { return value.bits; }

// Bit for bit, but that any NaN equals any NaN. Without branches, so that it can be vector arithmetic.
template <class Scalar>
SPEFT_HOST_DEVICE inline bool same(Scalar a, Scalar b) {
    const float left = to_float(a), right = to_float(b);
    return (bits_of(a) == bits_of(b)) | ((left != left) & (right != right));
}

enum class Found { differs, replace, keep };

// `find` asks merged() for the merged weight where it needs it. `write` goes over each weight that is to be replaced.
// Where any weight differs, `put_back` takes the written ones back.
struct MergeRule {
    template <class Scalar, class Merged>
    SPEFT_HOST_DEVICE static Found find(Scalar weight, Scalar original, Merged &&merged) {
        if (bits_of(weight) == bits_of(original)) return Found::replace;
        return same(weight, merged()) ? Found::keep : Found::differs;
    }
    template <class Scalar>
    SPEFT_HOST_DEVICE static Scalar write(Scalar, Scalar merged) {
        return merged;
    }
    template <class Scalar>
    SPEFT_HOST_DEVICE static Scalar put_back(Scalar original, Scalar) {
        return original;
    }
};

struct UnmergeRule {
    template <class Scalar, class Merged>
    SPEFT_HOST_DEVICE static Found find(Scalar weight, Scalar, Merged &&merged) {
        return same(weight, merged()) ? Found::replace : Found::differs;
    }
    template <class Scalar>
    SPEFT_HOST_DEVICE static Scalar write(Scalar original, Scalar) {
        return original;
    }
    template <class Scalar>
    SPEFT_HOST_DEVICE static Scalar put_back(Scalar, Scalar merged) {
        return merged;
    }
};

}  // namespace speft
