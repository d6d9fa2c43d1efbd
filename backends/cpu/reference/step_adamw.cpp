#include <cmath>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/moments.h"

namespace speft::cpu {
namespace {

// The formulas of optimizer.h, one rounding an operation, in their order. `usual`: AdamW with decay that comes first;
// measured, asking at each weight takes a seventh more time where the weights are in the caches.
template <bool usual, class Moments, class Segment>
void step(const speft_adamw_segment &s, Moments moments1, Moments moments2, const Segment &segment, Piece piece) {
    const bool coupled = !usual && s.coupled;
    const Decay<usual> decay(s.decay_kind, s.decay, s.segment);
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        float *const block1 = moments1.load(begin, end);
        float *const block2 = moments2.load(begin, end);
        for (std::uint64_t j = begin; j < end; ++j) {
            const std::uint32_t updates =
                s.cohorts ? s.age - static_cast<std::uint32_t>(s.births[s.cohorts[j]]) : s.age;
            const std::uint32_t age = std::min(updates, s.corrections - 1);
            float gradient = s.gradient[j] * s.gradient_scale;
            float delta = segment.delta(j);
            if (coupled)
                gradient = decay.couple(segment, j, delta, gradient);
            else
                delta = decay.first(segment, j, delta);
            const float moment1 = s.beta1 * block1[j - begin] + s.one_minus_beta1 * gradient;
            const float moment2 = s.beta2 * block2[j - begin] + s.one_minus_beta2 * gradient * gradient;
            const float denominator = std::sqrt(moment2) * s.corrections2[age] + s.epsilon;
            block1[j - begin] = moment1;
            block2[j - begin] = moment2;
            segment.set_delta(j, decay.last(delta - s.learning_rate * s.corrections1[age] * moment1 / denominator));
            segment.weight(j) = segment.merged(j);
        }
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
                if (!segment.coupled && segment.decay_kind != SPEFT_DECAY_AFTER_UPDATE)
                    step<true>(segment, make(segment.moment1, true), make(segment.moment2, false), typed, piece);
                else
                    step<false>(segment, make(segment.moment1, true), make(segment.moment2, false), typed, piece);
            });
        });
    });
}

}  // namespace speft::cpu
