#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/moments.h"
#include "core/base/update/lion.h"

namespace speft::cpu {
namespace {

template <class Moments, class Segment>
void step(const speft_lion_segment &s, Moments moments, const Segment &segment, Piece piece) {
    const Decay<> decay(s.decay_kind, s.decay, s.segment.absolute != 0);
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        float *const block = moments.load(begin, end);
        for (std::uint64_t j = begin; j < end; ++j) {
            const float delta = segment.delta(j);
            const LionState state = update_lion(s, decay, s.gradient[j], pulled_by(decay, segment, j, delta),
                                                {delta, block[j - begin]});
            block[j - begin] = state.moment;
            segment.set_delta(j, state.delta);
            segment.weight(j) = segment.merged(j);
        }
        moments.store(begin, end);
    });
}

}  // namespace

void step_lion(const speft_backend_device &device, const speft_step_lion &arguments) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < arguments.count; ++s) pieces.add(arguments.segments[s].segment.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_lion_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) {
            visit_moments(segment.moment.type,
                          [&](auto make) { step(segment, make(segment.moment, true), typed, piece); });
        });
    });
}

}  // namespace speft::cpu
