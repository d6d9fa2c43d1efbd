// A batch whose rows are served by different adapters over one base.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/adapter/adapter.h"

namespace speft {

// A parameter of an adapter.
struct AdapterLayer {
    Adapter *adapter;
    std::size_t parameter;
};

// outputs[t] = inputs[t] (W + Δ_a)ᵀ, or inputs[t] (W + Δ_a), for each row t, Δ_a that of layers[choice[t]], or 0 where
// choice[t] is -1. All layers are of one context and, unless `delta_only`, bound to the same W. Nothing is written when
// it throws.
void apply_each(std::span<const AdapterLayer> layers, std::span<const std::int64_t> choice, Factor weight_is,
                const TensorView &inputs, const TensorView &outputs, bool delta_only, Into into);

}  // namespace speft
