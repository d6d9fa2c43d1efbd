// The selected scalars of one parameter, with their type.
#pragma once

#include "backends/cpu/parallel.h"
#include "core/base/scalar.h"
#include "speft/backend.h"

namespace speft::cpu {

template <class Scalar>
class Segment {
public:
    explicit Segment(const speft_segment &segment)
        : indices_(segment.indices), weights_(static_cast<Scalar *>(segment.weights)),
          originals_(static_cast<Scalar *>(segment.originals)), deltas_(segment.deltas),
          absolute_(segment.absolute != 0) {}

    Scalar &weight(std::uint64_t j) const { return weights_[indices_ ? indices_[j] : j]; }
    Scalar &original(std::uint64_t j) const { return originals_[j]; }
    float &delta(std::uint64_t j) const { return deltas_[j]; }

    // round(θ0 + δ); a δ of 0 keeps the original bits, which a sum would not do for −0 and for NaN. round(δ) where δ
    // is the value itself.
    Scalar merged(std::uint64_t j) const {
        if (absolute_) return from_float<Scalar>(deltas_[j]);
        return deltas_[j] == 0.0f ? originals_[j] : from_float<Scalar>(to_float(originals_[j]) + deltas_[j]);
    }

private:
    const std::uint32_t *indices_;
    Scalar *weights_;
    Scalar *originals_;
    float *deltas_;
    bool absolute_;
};

inline constexpr std::uint64_t segment_piece_size = 4096;

}  // namespace speft::cpu
