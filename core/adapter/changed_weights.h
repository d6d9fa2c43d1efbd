// Weights that an adapter has changed: where they are, the bits that were there before, and what was added.
#pragma once

#include "core/adapter/masks.h"
#include "core/adapter/packed_arrays.h"

namespace speft {

struct ChangedWeights {
    Masks masks;
    PackedArrays originals;  // θ0 at the masks, in the weights' types
    PackedArrays deltas;
};

}  // namespace speft
