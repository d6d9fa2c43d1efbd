// Lion on the trained scalars: the sign of a mean of gradients.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/moments.h"

namespace speft {

class Lion : public Optimizer {
public:
    Lion(const OptimizerOptions &options, const std::vector<Parameter> &parameters)
        : Optimizer(parameters), type_(options.state), moment_({"moment", "scales", true, 1}, options.state) {}

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    std::uint64_t state_bytes(std::uint64_t count) const override { return Moments::bytes(type_, count); }
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    Lion(const Lion &before, Device &device, const Move &move)
        : Optimizer(before, move), type_(before.type_),
          moment_(before.moment_.moved(device, move, before.fates_of(move))) {}

    std::int32_t type_;
    Moments moment_;
};

}  // namespace speft
