// Stochastic gradient descent on the trained scalars, with a velocity where there is momentum.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/optimizer.h"

namespace speft {

class Sgd : public Optimizer {
public:
    using Optimizer::Optimizer;

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;
    std::uint64_t state_bytes() const override { return sizeof(float); }

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    Buffer<float> velocity_;  // [trained], from the first update with momentum on
};

}  // namespace speft
