#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/moments.h"
#include "core/base/update/sgd.h"

namespace speft::cpu {
namespace {

template <class Moments, class Segment>
void step(const speft_sgd_segment &s, Moments moments, const Segment &segment, Piece piece) {
    const Decay<> decay(s.decay_kind, s.decay, s.segment.absolute != 0);
    const bool has_momentum = s.velocity.values != nullptr;
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        float *const velocity = has_momentum ? moments.load(begin, end) : nullptr;
        for (std::uint64_t j = begin; j < end; ++j) {
            const float delta = segment.delta(j);
            float change =
                sgd_gradient(s, decay, s.gradient[j], delta, [&] { return to_float(segment.weight(j)); });
            if (velocity) change = velocity[j - begin] = move_velocity(s, velocity[j - begin], change);
            segment.set_delta(j, update_sgd(s, decay, delta, change));
            segment.weight(j) = segment.merged(j);
        }
        if (velocity) moments.store(begin, end);
    });
}

}  // namespace

void step_sgd(const speft_backend_device &device, const speft_step_sgd &arguments) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < arguments.count; ++s) pieces.add(arguments.segments[s].segment.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_sgd_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) {
            visit_moments(segment.velocity.type,
                          [&](auto make) { step(segment, make(segment.velocity, true), typed, piece); });
        });
    });
}

}  // namespace speft::cpu
