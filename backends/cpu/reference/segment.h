// The trained scalars of one parameter, with their types.
#pragma once

#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/random.h"
#include "core/base/scalar.h"
#include "speft/backend.h"

namespace speft::cpu {

// What a step writes for a delta; see speft_segment.rounding_key.
inline float round_delta(float value, std::uint32_t, std::uint64_t, float) { return value; }
inline BFloat16 round_delta(float value, std::uint32_t key, std::uint64_t j, BFloat16) {
    return round_stochastically(value, draw_bits(key, static_cast<std::uint32_t>(j)));
}

template <class ScalarType, class DeltaType>
class Segment {
public:
    using Scalar = ScalarType;
    using Delta = DeltaType;

    explicit Segment(const speft_segment &segment)
        : indices_(segment.indices), places_(segment.compact ? nullptr : segment.indices),
          weights_(static_cast<Scalar *>(segment.weights)),
          originals_(static_cast<Scalar *>(segment.originals)), deltas_(static_cast<Delta *>(segment.deltas)),
          rounding_key_(segment.rounding_key), absolute_(segment.absolute != 0) {}

    std::uint64_t index(std::uint64_t j) const { return indices_ ? indices_[j] : j; }
    Scalar &weight(std::uint64_t j) const { return weights_[places_ ? places_[j] : j]; }
    Scalar &original(std::uint64_t j) const { return originals_[j]; }
    float delta(std::uint64_t j) const { return to_float(deltas_[j]); }
    void set_delta(std::uint64_t j, float value) const { deltas_[j] = round_delta(value, rounding_key_, j, Delta{}); }

    // Each weight of a mask is likely a cache miss of its own. The second level has more of them under way than the
    // few miss buffers of the first: measured on Zen 4, a third less time, and no gain from fetching into the first.
    void prefetch_weight(std::uint64_t j) const {
        if (places_) __builtin_prefetch(weights_ + places_[j], 0, 2);
    }

    // round(θ0 + δ); a δ of 0 keeps the original bits, which a sum would not do for −0 and for NaN. round(δ) where δ
    // is the value itself.
    Scalar merged(std::uint64_t j) const {
        if (absolute_) return from_float<Scalar>(delta(j));
        return delta(j) == 0.0f ? originals_[j] : from_float<Scalar>(to_float(originals_[j]) + delta(j));
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

// visitor(Segment<…>) with the segment's types.
template <class Visitor>
void visit_segment(const speft_segment &segment, Visitor &&visitor) {
    visit_scalar(segment.weights_type, [&](auto scalar) {
        if (segment.deltas_type == SPEFT_SCALAR_BFLOAT16)
            visitor(Segment<decltype(scalar), BFloat16>(segment));
        else
            visitor(Segment<decltype(scalar), float>(segment));
    });
}

inline constexpr std::uint64_t segment_piece_size = 4096;  // for one thread at a time
inline constexpr std::uint64_t segment_block_size = 64;    // of a piece, for one round of prefetches

// body(begin, end) for each block of the piece, in order, with the block's weights on the way into the caches.
template <class Segment, class Body>
void for_each_block(const Segment &segment, Piece piece, Body &&body) {
    constexpr std::uint64_t distance = 128;  // measured: 64 to 256 are alike, 512 is slower
    for (std::uint64_t begin = piece.begin; begin < piece.end; begin += segment_block_size) {
        const std::uint64_t end = std::min(begin + segment_block_size, piece.end);
        const std::uint64_t end_ahead = std::min(end + distance, piece.end);
        for (std::uint64_t j = begin + distance; j < end_ahead; ++j) segment.prefetch_weight(j);
        body(begin, end);
    }
}

// body(j) for each scalar of the piece, likewise.
template <class Segment, class Body>
void for_each_weight(const Segment &segment, Piece piece, Body &&body) {
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        for (std::uint64_t j = begin; j < end; ++j) body(j);
    });
}

}  // namespace speft::cpu
