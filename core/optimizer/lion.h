// Lion on the trained scalars: the sign of a mean of gradients.
#pragma once

#include "core/optimizer/one_moment.h"

namespace speft {

class Lion : public OneMoment {
public:
    Lion(const OptimizerOptions &options, const std::vector<Parameter> &parameters)
        : OneMoment("moment", options, parameters) {}

    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override {
        return std::unique_ptr<Optimizer>(new Lion(*this, device, move));
    }

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    using OneMoment::OneMoment;
};

}  // namespace speft
