// What SpIEL-AG could grow: the scalars outside the masks that had the largest gradients in the first step of a window,
// and what their gradients add up to over it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/adapter/gradient.h"
#include "core/adapter/masks.h"
#include "core/selection/selection_options.h"
#include "core/storage/adapter_record.h"

namespace speft {

class Candidates {
public:
    explicit Candidates(std::size_t parameters) : held_(parameters), present_(parameters) {}

    // Takes a contribution to the gradient of the step under way: holds a copy until the candidates are chosen, and
    // then keeps what concerns them.
    void add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient);
    // Forgets what the step under way has brought.
    void clear(std::size_t index);
    // What the host has done to the gradient of the selected scalars.
    void scale(Device &device, std::size_t index, double factor);
    // Whether a gradient waits for the candidates to be chosen.
    bool holds() const;

    // What a step leaves: made before the optimizer moves, and kept once it has.
    struct Step {
        std::optional<Masks> masks;  // chosen in this step
        Buffer<float> gradient, sums, squares;
    };
    // INVALID_STATE when a parameter has brought nothing of which candidates could be chosen; INVALID_ARGUMENT when fewer
    // than wanted have a gradient that is not NaN.
    Step take_step(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                   const Masks &selected, double gradient_scale) const;
    void keep(Step step);

    bool chosen() const { return masks_.has_value(); }
    // The candidates, and for each in their numbering the sums over the window of its gradient and its square.
    const Masks &masks() const { return *masks_; }
    const float *sums(std::size_t index) const { return sums_.data() + masks_->slots[index].offset; }
    const float *squares(std::size_t index) const { return squares_.data() + masks_->slots[index].offset; }

    // For a checkpoint, between steps.
    std::vector<CandidateRecord> record(Device &device) const;
    void restore(Device &device, const std::vector<Parameter> &parameters,
                 const std::vector<CandidateRecord> &record);

private:
    // A copy of one contribution from activations, or the sum of the dense ones.
    struct Activations {
        Buffer<std::byte> x, dy;
        Gradient gradient;  // its views are on the buffers
    };
    struct Held {
        std::vector<Activations> activations;
        Buffer<float> dense;
    };

    static void add_at(Device &device, const Masks &masks, std::size_t index, const Gradient &gradient,
                       Buffer<float> &values);
    Masks choose(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                 const Masks &selected) const;

    std::vector<Held> held_;  // until they are chosen
    std::vector<bool> present_;
    std::optional<Masks> masks_;
    Buffer<float> gradient_;  // of the step under way, [candidates]
    Buffer<float> sums_, squares_;
};

// How many candidates of each target (under the global scope: of all together, the one entry) there are to be.
std::vector<std::uint64_t> candidate_budgets(const SelectionOptions &options, const std::vector<Parameter> &parameters);

}  // namespace speft
