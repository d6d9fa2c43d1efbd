// How the trained scalars of a parameter are walked: by their types, in pieces for the threads.
#pragma once

#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/segment.h"
#include "speft/backend.h"

namespace speft::cpu {

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

// Each weight of a mask is likely a cache miss of its own. The second level has more of them under way than the
// few miss buffers of the first: measured on Zen 4, a third less time, and no gain from fetching into the first.
template <class Segment>
void prefetch_weight(const Segment &segment, std::uint64_t j) {
    if (segment.is_scattered()) __builtin_prefetch(&segment.weight(j), 0, 2);
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
        for (std::uint64_t j = begin + distance; j < end_ahead; ++j) prefetch_weight(segment, j);
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
