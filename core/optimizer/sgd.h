// Stochastic gradient descent on the trained scalars, with a velocity where there is momentum.
#pragma once

#include "core/optimizer/one_moment.h"

namespace speft {

class Sgd : public OneMoment {
public:
    Sgd(const OptimizerOptions &options, const std::vector<Parameter> &parameters)
        : OneMoment("velocity", options, parameters) {}

    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override {
        return std::unique_ptr<Optimizer>(new Sgd(*this, device, move));
    }

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    using OneMoment::OneMoment;
};

}  // namespace speft
