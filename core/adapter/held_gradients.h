// The gradient of a step under way, of all scalars of the sparse parameters, held until it is known which of them
// matter: contributions from activations as copies of x and dy, dense ones as their sum.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/adapter/gradient.h"
#include "core/adapter/masks.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

namespace speft {

class HeldGradients {
    struct Activations {
        Buffer<std::byte> x, dy;
        Gradient gradient;  // its views are on the buffers
    };

public:
    explicit HeldGradients(std::size_t parameters) : held_(parameters) {}

    // One contribution, ready to be kept: all that may fail.
    class Contribution {
        friend class HeldGradients;
        std::vector<Activations> activations;  // at most one
        Buffer<float> values;
    };
    // DENSE or ACTIVATIONS, of a sparse parameter.
    Contribution prepare(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient);
    void keep(std::size_t index, Contribution contribution) noexcept;
    void clear(std::size_t index) { held_[index] = {}; }
    // What the host has done to the gradient since.
    void scale(std::size_t index, double factor) noexcept;

    bool present(std::size_t index) const { return held_[index].present; }
    bool any() const;

    // Called, and throws, where fewer gradients of the part's targets than its budget are neither NaN nor excluded.
    using Refuse = std::function<void(std::size_t part, std::uint64_t eligible, std::uint64_t budget)>;
    // The largest |g| of the targets on `budgets`, as rank_on_budgets has them. `excluded`: masks of what is not to be
    // chosen, or NULL. A parameter that holds nothing has no scalar to choose.
    Ranked rank(Device &device, const std::vector<Parameter> &parameters, const std::vector<Target> &targets,
                const std::vector<std::uint64_t> &budgets, const Masks *excluded, const Refuse &refuse) const;

    // The gradient at `indices`, added to `sums` [count].
    void gather(Device &device, std::size_t index, const std::uint32_t *indices, std::uint64_t count,
                float *sums) const;

private:
    struct Held {
        bool present = false;
        std::vector<Activations> activations;
        Buffer<float> values;  // of all scalars
        double factor = 1;     // of `values`: what the host has done since they were summed
    };

    std::vector<Held> held_;
};

}  // namespace speft
