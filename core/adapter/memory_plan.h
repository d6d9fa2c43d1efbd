// What an adapter will take, before there is one; speft/memory.h says what each number is.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/adapter.h"

namespace speft {

struct MemoryPlan {
    std::uint64_t observation = 0;
    std::uint64_t announced_observation = 0;
    std::uint64_t selection = 0;
    std::uint64_t training = 0;
    std::uint64_t reselection = 0;
};

// Checks what creating the adapter would. `tokens`: of one gradient from activations, at most; 0 for any number.
MemoryPlan plan_memory(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
                       std::uint64_t tokens);

}  // namespace speft
