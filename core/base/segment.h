// The trained scalars of one parameter, with their types: what a backend's kernels see of a speft_segment.
#pragma once

#include <cstdint>

#include "random.h"
#include "scalar.h"
#include "speft/backend.h"

namespace speft {

// What a step writes for a delta; see speft_segment.rounding_key.
SPEFT_HOST_DEVICE inline float round_delta(float value, std::uint32_t, std::uint64_t, float) { return value; }
SPEFT_HOST_DEVICE inline BFloat16 round_delta(float value, std::uint32_t key, std::uint64_t j, BFloat16) {
    return round_stochastically(value, draw_bits(key, static_cast<std::uint32_t>(j)));
}

template <class ScalarType, class DeltaType>
class Segment {
public:
    using Scalar = ScalarType;
    using Delta = DeltaType;

    SPEFT_HOST_DEVICE explicit Segment(const speft_segment &segment)
        : indices_(segment.indices), places_(segment.compact ? nullptr : segment.indices),
          weights_(static_cast<Scalar *>(segment.weights)),
          originals_(static_cast<Scalar *>(segment.originals)), deltas_(static_cast<Delta *>(segment.deltas)),
          rounding_key_(segment.rounding_key), absolute_(segment.absolute != 0) {}

    SPEFT_HOST_DEVICE std::uint64_t index(std::uint64_t j) const { return indices_ ? indices_[j] : j; }
    // Where its weight is. A kernel that handles several scalars loads all places first: none waits for another's.
    SPEFT_HOST_DEVICE std::uint64_t place(std::uint64_t j) const { return places_ ? places_[j] : j; }
    SPEFT_HOST_DEVICE Scalar &weight_at(std::uint64_t place) const { return weights_[place]; }
    SPEFT_HOST_DEVICE Scalar &weight(std::uint64_t j) const { return weight_at(place(j)); }
    SPEFT_HOST_DEVICE Scalar &original(std::uint64_t j) const { return originals_[j]; }
    SPEFT_HOST_DEVICE float delta(std::uint64_t j) const { return to_float(deltas_[j]); }
    SPEFT_HOST_DEVICE void set_delta(std::uint64_t j, float value) const {
        deltas_[j] = round_delta(value, rounding_key_, j, Delta{});
    }

    // Whether weights of neighbours lie apart.
    SPEFT_HOST_DEVICE bool is_scattered() const { return places_ != nullptr; }

    // round(θ0 + δ); a δ of 0 keeps the original bits, which a sum would not do for −0 and for NaN. round(δ) where δ
    // is the value itself.
    SPEFT_HOST_DEVICE Scalar merged(Scalar original, float delta) const {
        if (absolute_) return from_float<Scalar>(delta);
        return delta == 0.0f ? original : from_float<Scalar>(to_float(original) + delta);
    }
    SPEFT_HOST_DEVICE Scalar merged(std::uint64_t j) const {
        if (absolute_) return from_float<Scalar>(delta(j));  // has no original
        return merged(originals_[j], delta(j));
    }

private:
    const std::uint32_t *indices_;
    const std::uint32_t *places_;  // of the weights
    Scalar *weights_;
    Scalar *originals_;
    Delta *deltas_;
    std::uint32_t rounding_key_;
    bool absolute_;
};

}  // namespace speft
