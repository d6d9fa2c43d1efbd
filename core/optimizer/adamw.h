// AdamW on the trained scalars: its moments and ages, and one grouped update.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/masks.h"
#include "core/optimizer/bias_corrections.h"
#include "core/optimizer/optimizer_options.h"

namespace speft {

// One parameter that has a gradient, for one update.
struct Update {
    std::size_t parameter = 0;
    speft_segment segment{};
    const float *gradient = nullptr;
    const Hyperparameters *hyperparameters = nullptr;
};

class AdamW {
public:
    AdamW() = default;
    AdamW(const OptimizerOptions &options, std::size_t parameters) : options_(options), ages_(parameters) {}

    // The state is allocated at the first step: an adapter that is only loaded to be used has none.
    void step(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale);

private:
    BiasCorrections &corrections_for(const Hyperparameters &hyperparameters);

    OptimizerOptions options_;
    std::vector<std::uint32_t> ages_;    // of each parameter: updates so far, at most
    Buffer<float> moment1_, moment2_;    // [trained]
    Buffer<std::uint32_t> weight_ages_;  // [trained], with an age for each weight
    std::vector<BiasCorrections> corrections_;
};

}  // namespace speft
