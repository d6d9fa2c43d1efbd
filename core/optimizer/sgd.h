// Stochastic gradient descent on the trained scalars, with a velocity where there is momentum.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/moments.h"

namespace speft {

class Sgd : public Optimizer {
public:
    Sgd(const OptimizerOptions &options, const std::vector<Parameter> &parameters)
        : Optimizer(parameters), type_(options.state), velocity_({"velocity", "scales", true, 1}, options.state) {}

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    std::uint64_t state_bytes(std::uint64_t count) const override { return Moments::bytes(type_, count); }
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    Sgd(const Sgd &before, Device &device, const Move &move)
        : Optimizer(before, move), type_(before.type_),
          velocity_(before.velocity_.moved(device, move, before.fates_of(move))) {}

    std::int32_t type_;
    Moments velocity_;  // from the first update with momentum on
};

}  // namespace speft
