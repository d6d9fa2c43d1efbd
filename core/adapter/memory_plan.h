// What an adapter will take, before there is one; speft/memory.h says what each number is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/adapter/adapter.h"
#include "core/basis/basis_shape.h"

namespace speft {

struct MemoryPlan {
    std::uint64_t fitting = 0;
    std::uint64_t observation = 0;
    std::uint64_t announced_observation = 0;
    std::uint64_t selection = 0;
    std::uint64_t training = 0;
    std::uint64_t reselection = 0;
    std::uint64_t products = 0;
    std::uint64_t merging = 0;
};

// One a parameter; NULL: the ordinary basis. Those that are the same object are one basis.
using PlannedBases = std::vector<std::shared_ptr<const BasisShape>>;

// Checks what creating the adapter, and binding its bases, would. `tokens`: of one gradient from activations, at most;
// 0 for any number.
MemoryPlan plan_memory(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
                       const PlannedBases &bases, std::uint64_t tokens);

}  // namespace speft
