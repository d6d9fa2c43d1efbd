#include <cmath>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/segment.h"

namespace speft::cpu {
namespace {

// The formulas of optimizer.h, one rounding an operation, in their order.
template <class Segment>
void step(const speft_adamw_segment &s, const Segment &segment, Piece piece) {
    const bool decay_merged = s.decay_kind == SPEFT_DECAY_TO_ZERO && !s.segment.absolute;
    auto *const moments1 = static_cast<float *>(s.moment1.values);
    auto *const moments2 = static_cast<float *>(s.moment2.values);
    for_each_weight(segment, piece, [&](std::uint64_t j) {
        const std::uint32_t updates = s.cohorts ? s.age - static_cast<std::uint32_t>(s.births[s.cohorts[j]]) : s.age;
        const std::uint32_t age = std::min(updates, s.corrections - 1);
        const float gradient = s.gradient[j] * s.gradient_scale;
        const float decayed = decay_merged ? to_float(segment.weight(j)) : segment.delta(j);
        const float delta = segment.delta(j) - s.decay * decayed;
        const float moment1 = s.beta1 * moments1[j] + s.one_minus_beta1 * gradient;
        const float moment2 = s.beta2 * moments2[j] + s.one_minus_beta2 * gradient * gradient;
        const float denominator = std::sqrt(moment2) * s.corrections2[age] + s.epsilon;
        moments1[j] = moment1;
        moments2[j] = moment2;
        segment.set_delta(j, delta - s.learning_rate * s.corrections1[age] * moment1 / denominator);
        segment.weight(j) = segment.merged(j);
    });
}

}  // namespace

void step_adamw(const speft_backend_device &device, const speft_step_adamw &arguments) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < arguments.count; ++s) pieces.add(arguments.segments[s].segment.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_adamw_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) { step(segment, typed, piece); });
    });
}

}  // namespace speft::cpu
