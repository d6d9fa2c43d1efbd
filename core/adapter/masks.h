// Which scalars of each parameter are trained. The trained scalars of all parameters, dense ones included, are
// numbered through in the order of the parameters, so that deltas, gradients and moments are one array each.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"

namespace speft {

struct Masks {
    struct Slot {
        const std::uint32_t *indices = nullptr;  // device memory, strictly increasing; NULL: all scalars
        std::int64_t count = 0;
        std::uint64_t offset = 0;  // of its first scalar among the trained ones
    };

    std::vector<Slot> slots;  // one a parameter
    Buffer<std::uint32_t> indices;
    std::uint64_t selected = 0;  // scalars of the sparse parameters
    std::uint64_t trained = 0;   // and of the dense ones
};

// Whether masks have all scalars of the dense parameters, or none.
enum class DenseParameters { all, none };

// `counts`: how many scalars of each parameter are selected (whatever it says of a dense one), which is how `indices`
// is divided.
Masks make_masks(const std::vector<Parameter> &parameters, Buffer<std::uint32_t> indices,
                 const std::vector<std::uint64_t> &counts, DenseParameters dense = DenseParameters::all);

}  // namespace speft
