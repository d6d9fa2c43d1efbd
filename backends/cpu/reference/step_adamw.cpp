#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/moments.h"
#include "core/base/update/adamw.h"

namespace speft::cpu {
namespace {

std::uint32_t age_of(const speft_adamw_segment &s, std::uint64_t j) {
    return s.cohorts ? count_updates(s.age, s.births[s.cohorts[j]]) : s.age;
}

// `usual`: AdamW with decay that comes first; measured, asking at each weight takes a seventh more time where the
// weights are in the caches. `lazy`: each weight has an age of its own, and stays as it is where its gradient is 0.
template <bool usual, bool lazy, class Moments, class Segment>
void step(const speft_adamw_segment &s, Moments moments1, Moments moments2, const Segment &segment, Piece piece) {
    const bool coupled = !usual && s.coupled;
    const Decay<usual> decay(s.decay_kind, s.decay, s.segment.absolute != 0);
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        float *const block1 = moments1.load(begin, end);
        float *const block2 = moments2.load(begin, end);
        bool moved = !lazy;
        for (std::uint64_t j = begin; j < end; ++j) {
            if (lazy && s.gradient[j] == 0.0f) continue;
            moved = true;
            if (lazy) s.ages[j] = grow_older(s.ages[j]);
            const std::uint32_t age = correction_of(s, lazy ? s.ages[j] : age_of(s, j));
            const float delta = segment.delta(j);
            const AdamwState state =
                update_adamw(s, decay, coupled, s.corrections1[age], s.corrections2[age], s.gradient[j],
                             pulled_by(decay, segment, j, delta), {delta, block1[j - begin], block2[j - begin]});
            block1[j - begin] = state.moment1;
            block2[j - begin] = state.moment2;
            segment.set_delta(j, state.delta);
            segment.weight(j) = segment.merged(j);
        }
        if (!moved) return;  // rounded again, moments in blocks would change
        moments1.store(begin, end);
        moments2.store(begin, end);
    });
}

}  // namespace

void step_adamw(const speft_backend_device &device, const speft_step_adamw &arguments) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < arguments.count; ++s) pieces.add(arguments.segments[s].segment.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_adamw_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) {
            visit_moments(segment.moment1.type, [&](auto make) {
                const auto moments1 = make(segment.moment1, true), moments2 = make(segment.moment2, false);
                if (segment.ages)
                    step<false, true>(segment, moments1, moments2, typed, piece);
                else if (!segment.coupled && segment.decay_kind != SPEFT_DECAY_AFTER_UPDATE)
                    step<true, false>(segment, moments1, moments2, typed, piece);
                else
                    step<false, false>(segment, moments1, moments2, typed, piece);
            });
        });
    });
}

}  // namespace speft::cpu
