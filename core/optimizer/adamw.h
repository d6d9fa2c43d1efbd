// AdamW on the trained scalars, or Adam: two moments, and an age for each parameter or each weight.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/optimizer/ages.h"
#include "core/optimizer/bias_corrections.h"
#include "core/optimizer/lazy_ages.h"
#include "core/optimizer/moments.h"

namespace speft {

class AdamW : public Optimizer {
public:
    AdamW(const OptimizerOptions &options, const std::vector<Parameter> &parameters);

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    void check_restored(Device &device, const Masks &masks) override;
    std::uint64_t state_bytes(std::uint64_t count) const override;
    std::uint64_t table_bytes() const override;
    // Masks that move have SPEFT_AGE_PER_WEIGHT, unless they always move afresh.
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;
    void seed(Device &device, const Masks &masks, const Seeds &seeds) override;
    void copy_ages(Device &device, const Masks &masks, std::size_t parameter, std::int64_t *ages) const override;

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;

private:
    // Of one parameter's last step.
    struct Last {
        double beta1 = 0;
        double beta2 = 0;
        std::uint32_t rounding_key = 0;
    };

    AdamW(const AdamW &before, Device &device, const Move &move);
    // All of a dense parameter moves at each step.
    bool is_lazy(std::size_t parameter) const { return options_.lazy && sparse(parameter); }
    BiasCorrections &corrections_for(const Hyperparameters &hyperparameters);

    OptimizerOptions options_;
    Moments moment1_;
    Moments moment2_;
    Ages ages_;
    LazyAges lazy_ages_;  // in their place, where the optimizer is lazy
    std::vector<Last> last_;  // one a parameter
    // They depend on the betas alone: an optimizer shares them with those that it has moved to.
    std::shared_ptr<std::vector<BiasCorrections>> corrections_;
};

}  // namespace speft
