#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/moments.h"

namespace speft::cpu {
namespace {

float sign(float value) {
    if (value != value) return value;
    return static_cast<float>((value > 0) - (value < 0));
}

// The formulas of optimizer.h, one rounding an operation, in their order.
template <class Moments, class Segment>
void step(const speft_lion_segment &s, Moments moments, const Segment &segment, Piece piece) {
    const Decay<> decay(s.decay_kind, s.decay, s.segment);
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        float *const block = moments.load(begin, end);
        for (std::uint64_t j = begin; j < end; ++j) {
            const float gradient = s.gradient[j] * s.gradient_scale;
            const float moment = block[j - begin];
            const float delta = decay.first(segment, j, segment.delta(j));
            const float direction = sign(s.beta1 * moment + s.one_minus_beta1 * gradient);
            block[j - begin] = s.beta2 * moment + s.one_minus_beta2 * gradient;
            segment.set_delta(j, decay.last(delta - s.learning_rate * direction));
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
