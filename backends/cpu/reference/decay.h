// Weight decay, as the steps of optimizer.h have it.
#pragma once

#include "backends/cpu/reference/segment.h"

namespace speft::cpu {

// `usual`: known not to come after the update, which saves the innermost loops from asking.
template <bool usual = false>
class Decay {
public:
    Decay(std::int32_t kind, float factor, const speft_segment &segment)
        : factor_(factor), to_weight_(kind == SPEFT_DECAY_TO_ZERO && !segment.absolute),
          last_(!usual && kind == SPEFT_DECAY_AFTER_UPDATE) {}

    // φ before the update, φ after it.
    template <class Segment>
    float first(const Segment &segment, std::uint64_t j, float delta) const {
        return is_last() ? delta : delta - factor_ * pulled(segment, j, delta);
    }
    float last(float delta) const { return is_last() ? delta - factor_ * delta : delta; }

    // The gradient, of the optimizers that add decay to it in place of `first`.
    template <class Segment>
    float couple(const Segment &segment, std::uint64_t j, float delta, float gradient) const {
        return is_last() ? gradient : gradient + factor_ * pulled(segment, j, delta);
    }

private:
    bool is_last() const { return !usual && last_; }

    template <class Segment>
    float pulled(const Segment &segment, std::uint64_t j, float delta) const {
        return to_weight_ ? to_float(segment.weight(j)) : delta;
    }

    float factor_;
    bool to_weight_;
    bool last_;
};

}  // namespace speft::cpu
