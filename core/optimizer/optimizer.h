// An optimizer of the trained scalars: its state and one grouped update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/adapter/masks.h"
#include "core/adapter/parameter.h"
#include "core/optimizer/optimizer_options.h"

namespace speft {

// One parameter that has a gradient, for one update.
struct Update {
    std::size_t parameter = 0;
    speft_segment segment{};
    const float *gradient = nullptr;
    const Hyperparameters *hyperparameters = nullptr;
};

enum class StateType { float32, bfloat16, uint16, uint8, int32 };

// One array of the state, as it lies on the device: a value for each trained scalar in the order of the masks'
// offsets, or for each row, or whatever the optimizer keeps.
struct OptimizerState {
    const char *name;  // "moment1"; part of the file format
    StateType type;
    void *values;  // device memory, [count]
    std::uint64_t count;
};

// How the masks of the sparse parameters move: what becomes of the scalars of `before`.
struct Move {
    const Masks &before;
    const Masks &after;
    // One a parameter, device memory, [count of it in `after`]: where each scalar was among those of the parameter in
    // `before`, or UINT32_MAX when it is new. NULL: the parameter's scalars are the same (a dense one).
    std::vector<const std::uint32_t *> positions;
    // Sparse parameters start as after the selection: no state, no updates. `positions` are not looked at then.
    bool afresh = false;
};

// What a move does to the scalars of one parameter.
enum class Fate { stays, moves, restarts };

// The second moments of one parameter as numbers of its rows and columns.
struct FactoredMoments {
    const float *rows = nullptr;     // device memory, [size/columns]
    const float *columns = nullptr;  // [column_count]; NULL where there is one column
    std::uint64_t column_count = 1;
};

// What grown scalars of one parameter have been observed to have: sums over a window of their gradient and its square.
struct Seeds {
    std::size_t parameter = 0;
    const float *sums = nullptr;     // [count]
    const float *squares = nullptr;  // [count]
    std::uint64_t count = 0;
    const std::uint32_t *positions = nullptr;  // [count of the parameter in the mask]: which seed, or UINT32_MAX
    std::uint32_t window = 0;                  // γ
};

class Optimizer {
public:
    explicit Optimizer(const std::vector<Parameter> &parameters);
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
    // The state array of this name, zeros, for a checkpoint to fill; NULL when this optimizer has none of that name,
    // type and length.
    virtual void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                                 std::uint64_t count) = 0;
    // After a checkpoint has filled the state: throws CORRUPT for what no training can have left.
    virtual void check_restored(Device &, const Masks &) {}
    // How many bytes of state `count` trained scalars of one parameter have at most, and what there is beside, with the
    // default hyperparameters.
    virtual std::uint64_t state_bytes(std::uint64_t count) const = 0;
    virtual std::uint64_t table_bytes() const { return 0; }
    // Scratch of a step on so many trained scalars of each parameter.
    virtual std::uint64_t scratch_bytes(const Device &, const std::vector<std::uint64_t> &) const { return 0; }

    // A copy of this optimizer for masks that have moved: survivors keep their state and age, new scalars begin with
    // none and age 0; what belongs to rows, columns and parameters stays.
    virtual std::unique_ptr<Optimizer> move(Device &device, const Move &move) const = 0;
    // Gives grown scalars the moments that a bias-corrected mean over the window has, and its age; after `move`. With
    // the betas of the parameter's last step, which no checkpoint keeps: a window ends with a step, and the scalars
    // that it grows are seeded before the next one. Nothing where there are no such moments.
    virtual void seed(Device &, const Masks &, const Seeds &) {}
    // For SM3, from its first step on; else NULLs.
    virtual FactoredMoments factored_moments(std::size_t) const { return {}; }
    // Writes the age of each scalar of one parameter, [its count in the mask], on the host.
    virtual void copy_ages(Device &device, const Masks &masks, std::size_t parameter, std::int64_t *ages) const;

protected:
    // For what `move` makes of `before`: the updates of parameters that do not restart.
    Optimizer(const Optimizer &before, const Move &move);
    bool sparse(std::size_t parameter) const { return sparse_[parameter]; }

    std::vector<Fate> fates_of(const Move &move) const;
    virtual void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
                       double gradient_scale) = 0;

private:
    std::vector<bool> sparse_;
    std::vector<std::uint32_t> updates_;
};

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions &options, const std::vector<Parameter> &parameters);

}  // namespace speft
