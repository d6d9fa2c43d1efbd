// What SpIEL-AG could grow: the scalars outside the masks that had the largest gradients in the first step of a window,
// and what their gradients add up to over it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/adapter/held_gradients.h"
#include "core/adapter/masks.h"
#include "core/selection/selection_options.h"
#include "core/storage/adapter_record.h"

namespace speft {

class Candidates {
public:
    explicit Candidates(std::size_t parameters) : held_(parameters), brought_(parameters) {}

    // One contribution to the gradient of the step under way, ready to be kept: all of it until the candidates are
    // chosen, and then what concerns them.
    class Contribution {
        friend class Candidates;
        HeldGradients::Contribution all;
        Buffer<float> values;
    };
    Contribution prepare(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient);
    void keep(std::size_t index, Contribution contribution) noexcept;
    // Forgets what the step under way has brought.
    void clear(std::size_t index);
    // What the host has done to the gradient of the selected scalars.
    void scale(std::size_t index, double factor) noexcept;
    // Whether a gradient waits for the candidates to be chosen.
    bool holds() const { return held_.any(); }

    // What a step leaves: made before the optimizer moves, and kept once it has.
    struct Step {
        std::optional<Masks> masks;          // chosen in this step
        std::vector<Buffer<float>> values;   // then: the candidates' gradient, one a parameter
        Buffer<float> sums, squares;
    };
    // INVALID_STATE when a parameter has brought nothing of which candidates could be chosen; INVALID_ARGUMENT when
    // fewer than wanted have a gradient that is not NaN.
    Step take_step(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                   const Masks &selected, double gradient_scale) const;
    void keep(Step step) noexcept;

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
    // What one parameter has brought of the candidates, in the step under way.
    struct Brought {
        bool present = false;
        Buffer<float> values;
        double factor = 1;  // of `values`: what the host has done since they were summed
    };

    Masks choose(Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                 const Masks &selected) const;

    HeldGradients held_;            // until the candidates are chosen
    std::vector<Brought> brought_;  // and from then on
    std::optional<Masks> masks_;
    Buffer<float> sums_, squares_;  // [candidates]
};

// How many candidates of each target (under the global scope: of all together, the one entry) there are to be.
std::vector<std::uint64_t> candidate_budgets(const SelectionOptions &options, const std::vector<Parameter> &parameters);

}  // namespace speft
