// From a speft_segment to the Segment of its types, on the device: a block's threads all take the same way.
#pragma once

#include "backends/cuda/kernels/scalars.h"
#include "core/base/segment.h"
#include "speft/backend.h"

namespace speft::cuda {

// visitor(Segment<…>) with the segment's types.
template <class Visitor>
SPEFT_HOST_DEVICE inline void visit_segment(const speft_segment &segment, Visitor &&visitor) {
    visit_scalar(segment.weights_type, [&](auto scalar) {
        if (segment.deltas_type == SPEFT_SCALAR_BFLOAT16)
            visitor(Segment<decltype(scalar), BFloat16>(segment));
        else
            visitor(Segment<decltype(scalar), float>(segment));
    });
}

}  // namespace speft::cuda
