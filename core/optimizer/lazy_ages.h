// How often each scalar has been moved, where an optimizer is lazy: 16 bits that stay at their largest number.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/optimizer.h"

namespace speft {

class LazyAges {
public:
    // Zeros, unless they are there.
    void start(Device &device, const Masks &masks);
    // As a step takes them; NULL before `start`.
    std::uint16_t *of(const Masks &masks, std::size_t parameter) const {
        return ages_ ? ages_.data() + masks.slots[parameter].offset : nullptr;
    }
    // Of each scalar, into host memory.
    void copy(Device &device, const Masks &masks, std::size_t parameter, std::int64_t *ages) const;

    // For Optimizer::state and allocate_state.
    void list(std::vector<OptimizerState> &state) const;
    void *allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count);

    LazyAges moved(Device &device, const Move &move, const std::vector<Fate> &fates) const;

private:
    Buffer<std::uint16_t> ages_;  // [trained]
};

}  // namespace speft
