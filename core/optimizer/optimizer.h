// An optimizer of the trained scalars: its state and one grouped update.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/adapter/masks.h"
#include "core/optimizer/optimizer_options.h"

namespace speft {

// One parameter that has a gradient, for one update.
struct Update {
    std::size_t parameter = 0;
    speft_segment segment{};
    const float *gradient = nullptr;
    const Hyperparameters *hyperparameters = nullptr;
};

enum class StateType { float32, uint32 };

// One value for each trained scalar, in the order of the masks' offsets.
struct OptimizerState {
    const char *name;  // "moment1"; part of the file format
    StateType type;
    void *values;  // device memory, [trained]
};

class Optimizer {
public:
    explicit Optimizer(std::size_t parameters) : updates_(parameters) {}
    virtual ~Optimizer() = default;

    // Of each parameter: how many updates it has had.
    const std::vector<std::uint32_t> &updates() const { return updates_; }
    // What a checkpoint brings back; before the first step.
    void set_updates(std::vector<std::uint32_t> updates) { updates_ = std::move(updates); }

    void step(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
        apply(device, masks, updates, gradient_scale);
        for (const Update &update : updates) ++updates_[update.parameter];
    }

    // The state there is so far. It is allocated when a step first needs it: an adapter that is only loaded to be used
    // has none.
    virtual std::vector<OptimizerState> state() const = 0;
    // The state tensor of this name, zeros, for a checkpoint to fill; NULL when this optimizer has none of that name
    // and type.
    virtual void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type) = 0;
    // How many bytes of state a trained scalar has at most, and what there is beside, with the default hyperparameters.
    virtual std::uint64_t state_bytes() const = 0;
    virtual std::uint64_t table_bytes() const { return 0; }

protected:
    virtual void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
                       double gradient_scale) = 0;

private:
    std::vector<std::uint32_t> updates_;
};

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions &options, std::size_t parameters);

}  // namespace speft
