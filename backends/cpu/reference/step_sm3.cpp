#include <atomic>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/matrix_walk.h"
#include "core/base/update/sm3.h"

namespace speft::cpu {
namespace {

// Numbers that are 0 or more rise as their bits do, so that the largest of several threads' does not depend on their
// order. A NaN is not among them.
void raise(float &largest, float value) {
    const std::atomic_ref<float> shared(largest);
    float known = shared.load(std::memory_order_relaxed);
    while (value > known && !shared.compare_exchange_weak(known, value, std::memory_order_relaxed)) {
    }
}

// The sums as they were before the update, in scratch; a parameter with one column needs none, since nobody else reads
// the sum of its scalar.
struct Before {
    const float *rows;
    const float *columns;
};

std::uint64_t count_rows(const speft_factored_segment &s) { return s.columns == 0 ? 0 : s.size / s.columns; }
std::uint64_t scratch_floats(const speft_factored_segment &s) {
    return s.columns > 1 ? count_rows(s) + s.columns : 0;
}

template <class Segment>
void step(const speft_factored_segment &s, Before before, const Segment &segment, Piece piece) {
    const Decay<> decay = make_decay(s);
    const bool factored = s.columns > 1;
    MatrixWalk at(s.columns);
    for_each_weight(segment, piece, [&](std::uint64_t j) {
        at.go_to(segment.index(j));
        float sum = factored ? before.rows[at.row()] : s.rows[at.row()];
        if (factored && before.columns[at.column()] < sum) sum = before.columns[at.column()];
        const float delta = segment.delta(j);
        const auto [moved, moment] =
            update_sm3(s, decay, sum, s.gradient[j], pulled_by(decay, segment, j, delta), delta);
        if (factored) {
            raise(s.rows[at.row()], moment);
            raise(s.columns_state[at.column()], moment);
        } else if (moment > sum) {
            s.rows[at.row()] = moment;
        }
        segment.set_delta(j, moved);
        segment.weight(j) = segment.merged(j);
    });
}

}  // namespace

std::uint64_t step_sm3_scratch(const speft_backend_device &, const speft_step_sm3 &arguments) {
    std::uint64_t floats = 0;
    for (std::uint64_t s = 0; s < arguments.count; ++s) floats += scratch_floats(arguments.segments[s]);
    return floats * sizeof(float);
}

void step_sm3(const speft_backend_device &device, const speft_step_sm3 &arguments, void *scratch) {
    Pieces pieces(segment_piece_size);
    std::vector<Before> before(arguments.count);
    float *free = static_cast<float *>(scratch);
    for (std::uint64_t s = 0; s < arguments.count; ++s) {
        const speft_factored_segment &segment = arguments.segments[s];
        pieces.add(segment.segment.count);
        if (segment.columns <= 1) continue;
        before[s].rows = free;
        free = std::copy_n(segment.rows, count_rows(segment), free);
        before[s].columns = free;
        free = std::copy_n(segment.columns_state, segment.columns, free);
    }
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_factored_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) { step(segment, before[piece.array], typed, piece); });
    });
}

}  // namespace speft::cpu
