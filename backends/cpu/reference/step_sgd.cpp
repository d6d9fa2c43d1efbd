#include "backends/cpu/operations.h"
#include "backends/cpu/reference/segment.h"

namespace speft::cpu {
namespace {

// The formulas of optimizer.h, one rounding an operation, in their order.
template <class Segment>
void step(const speft_sgd_segment &s, const Segment &segment, Piece piece) {
    const bool decay_merged = s.decay_kind == SPEFT_DECAY_TO_ZERO && !s.segment.absolute;
    auto *const velocity = static_cast<float *>(s.velocity.values);
    for_each_weight(segment, piece, [&](std::uint64_t j) {
        const float delta = segment.delta(j);
        const float decayed = decay_merged ? to_float(segment.weight(j)) : delta;
        float change = s.gradient[j] * s.gradient_scale + s.decay * decayed;
        if (velocity) change = velocity[j] = s.momentum * velocity[j] + change;
        segment.set_delta(j, delta - s.learning_rate * change);
        segment.weight(j) = segment.merged(j);
    });
}

}  // namespace

void step_sgd(const speft_backend_device &device, const speft_step_sgd &arguments) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < arguments.count; ++s) pieces.add(arguments.segments[s].segment.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_sgd_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) { step(segment, typed, piece); });
    });
}

}  // namespace speft::cpu
