// What weight decay pulls to 0, from a segment.
#pragma once

#include "backends/cpu/reference/segment.h"
#include "core/base/update/decay.h"

namespace speft::cpu {

inline Decay<> make_decay(const speft_factored_segment &s) { return {s.decay_kind, s.decay, s.segment.absolute != 0}; }

template <bool usual, class Segment>
float pulled_by(const Decay<usual> &decay, const Segment &segment, std::uint64_t j, float delta) {
    return decay.is_of_weight() ? to_float(segment.weight(j)) : delta;
}

}  // namespace speft::cpu
