// AdamW on the trained scalars: two moments, and an age for each parameter or each weight.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/bias_corrections.h"
#include "core/optimizer/optimizer.h"

namespace speft {

class AdamW : public Optimizer {
public:
    AdamW(const OptimizerOptions &options, std::size_t parameters)
        : Optimizer(parameters), per_weight_(options.age == SPEFT_AGE_PER_WEIGHT) {}

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;
    std::uint64_t state_bytes() const override {
        return 2 * sizeof(float);
    }
    std::uint64_t table_bytes() const override;

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    BiasCorrections &corrections_for(const Hyperparameters &hyperparameters);

    bool per_weight_;
    Buffer<float> moment1_, moment2_;  // [trained]
    std::vector<BiasCorrections> corrections_;
};

}  // namespace speft
