// What optimizers share that keep one number a weight besides its delta.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/moments.h"

namespace speft {

class OneMoment : public Optimizer {
public:
    std::vector<OptimizerState> state() const override {
        std::vector<OptimizerState> state;
        moment_.list(state);
        return state;
    }
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override {
        return moment_.allocate(device, masks, name, type, count);
    }
    std::uint64_t state_bytes(std::uint64_t count) const override { return Moments::bytes(type_, count); }

protected:
    // `name` is that of the state in files.
    OneMoment(const char *name, const OptimizerOptions &options, const std::vector<Parameter> &parameters)
        : Optimizer(parameters), type_(options.state), moment_({name, "scales", true, 1}, options.state) {}
    OneMoment(const OneMoment &before, Device &device, const Move &move)
        : Optimizer(before, move), type_(before.type_),
          moment_(before.moment_.moved(device, move, before.fates_of(move))) {}

    Moments &moment() { return moment_; }

private:
    std::int32_t type_;
    Moments moment_;
};

}  // namespace speft
