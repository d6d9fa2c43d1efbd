#include "core/adapter/memory_plan.h"

#include <algorithm>
#include <limits>

#include "core/base/status.h"
#include "core/selection/budget.h"

namespace speft {
namespace {

// The scratch of a gradient from activations in the weight's own type. `indices`: at a mask of this pointer, never
// looked through, or everywhere with NULL.
std::uint64_t product_scratch(const Device &device, const Parameter &parameter, std::uint64_t tokens,
                              const std::uint32_t *indices, std::uint64_t count) {
    if (parameter.shape.size() != 2 || parameter.size == 0 || count == 0) return 0;
    speft_add_product product{};
    product.indices = indices;
    product.count = count;
    product.tokens = tokens == 0 ? std::numeric_limits<std::uint32_t>::max() : tokens;
    product.out = static_cast<std::uint64_t>(parameter.shape[0]);
    product.in = static_cast<std::uint64_t>(parameter.shape[1]);
    product.x_type = product.dy_type = static_cast<std::int32_t>(parameter.type);
    product.layout = SPEFT_LAYOUT_OUT_IN;
    return device.scratch_bytes(product);
}

// Bytes a trained scalar takes before there is a gradient: its index where there is a mask, its original bits and its
// delta.
std::uint64_t kept_bytes(const Parameter &parameter, ScalarType delta_type) {
    const bool sparse = parameter.role == Role::sparse;
    return (sparse ? sizeof(std::uint32_t) : 0) + size_of(parameter.type) +
           size_of(sparse ? delta_type : ScalarType::float32);
}

// A gradient from activations, held until scalars are chosen by it; and what that takes.
struct Window {
    std::uint64_t held = 0;
    std::uint64_t scratch = 0;
};

Window plan_window(const Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                   const std::vector<std::uint64_t> &budgets, std::uint64_t tokens) {
    const std::vector<Target> targets = find_targets(parameters);
    Window window;
    std::vector<speft_product_factors> parts(targets.size());
    std::vector<speft_product_score> scores(targets.size());
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const Parameter &parameter = parameters[targets[at].position];
        if (parameter.shape.size() != 2) {  // dense gradients, added up
            window.held += parameter.size * sizeof(float);
            continue;
        }
        parts[at].tokens = tokens;
        parts[at].x_type = parts[at].dy_type = static_cast<std::int32_t>(parameter.type);
        scores[at].parts = &parts[at];
        scores[at].count = 1;
        scores[at].out = static_cast<std::uint64_t>(parameter.shape[0]);
        scores[at].in = static_cast<std::uint64_t>(parameter.shape[1]);
        scores[at].layout = SPEFT_LAYOUT_OUT_IN;
        window.held += tokens * (scores[at].in + scores[at].out) * size_of(parameter.type);
    }
    const bool together = options.scope == SPEFT_SCOPE_GLOBAL;
    for (std::size_t part = 0; part < budgets.size(); ++part)
        window.scratch = std::max(
            window.scratch, device.scratch_bytes(speft_select_product{&scores[part], together ? scores.size() : 1,
                                                                      budgets[part], nullptr, nullptr, nullptr,
                                                                      nullptr}));
    return window;
}

// Bytes a candidate has in a window: index, gradient, its sum and that of its square; while a step is taken the sums
// are there twice.
constexpr std::uint64_t candidate_bytes = 4 * sizeof(float), candidate_step_bytes = 2 * sizeof(float);

// What observing one gradient of this parameter takes.
std::uint64_t observation_scratch(const Device &device, const Parameter &parameter, Statistic statistic,
                                  std::uint64_t tokens) {
    if (statistic == Statistic::none || statistic == Statistic::column_squares) return 0;
    if (statistic == Statistic::mean_of_squares && parameter.shape.size() == 2) {
        speft_add_example_squares squares{};
        squares.examples = 1;
        squares.tokens = tokens == 0 ? std::numeric_limits<std::uint32_t>::max() : tokens;
        squares.out = static_cast<std::uint64_t>(parameter.shape[0]);
        squares.in = static_cast<std::uint64_t>(parameter.shape[1]);
        squares.x_type = squares.dy_type = static_cast<std::int32_t>(parameter.type);
        squares.layout = SPEFT_LAYOUT_OUT_IN;
        return device.scratch_bytes(squares);
    }
    return product_scratch(device, parameter, tokens, nullptr, parameter.size);
}

// The sums of one plan, in bytes.
class Planner {
public:
    Planner(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
            std::uint64_t tokens)
        : device_(device), selection_(options.selection), delta_type_(options.delta_type), parameters_(parameters),
          tokens_(tokens), targets_(find_targets(parameters)),
          selected_(count_selected(options.selection, parameters)),
          optimizer_(make_optimizer(options.optimizer, parameters)),
          by_step_(selects_by_step(selection_)),
          moves_((selection_.schedule.reselect_every > 0 || by_step_) && selected_ > 0) {
        plan_observation();
        plan_training();
        if (moves_) plan_moves();
    }

    MemoryPlan plan() const {
        MemoryPlan plan;
        const std::uint64_t selecting = std::max(observing_, selection_scratch(device_, selection_, parameters_));
        plan.observation = accumulators_ + batch_ + observing_;
        plan.announced_observation = accumulators_ + announced_batch_ + observing_;
        plan.selection = accumulators_ + announced_batch_ + kept_ + selecting;
        const std::uint64_t steady = kept_ + training_ + optimizer_->table_bytes() + settled_;
        plan.training = steady + accumulating_ + std::max(held_, candidates_ * candidate_step_bytes) +
                        candidates_ * candidate_bytes;
        if (moves_)
            plan.reselection = steady + candidates_ * candidate_bytes + next_ + moving_ +
                               std::max({accumulating_, selecting, choosing_});
        return plan;
    }

private:
    void plan_observation() {
        const Statistic statistic = statistic_of(selection_);
        for (const Target &target : targets_) {
            const Parameter &parameter = parameters_[target.position];
            const bool columns = statistic == Statistic::column_squares;
            if (statistic != Statistic::none || selection_.method == SPEFT_SELECT_GIVEN_SCORES)
                accumulators_ += (columns ? target.columns() : target.size) * sizeof(float);
            if (selection_.method == SPEFT_SELECT_WEIGHT_CHANGE)  // its references
                accumulators_ += target.size * size_of(parameter.type);
            observing_ = std::max(observing_, observation_scratch(device_, parameter, statistic, tokens_));
        }
        if (statistic != Statistic::none) batch_ = accumulators_;
        if (statistic == Statistic::mean_of_absolutes) announced_batch_ = batch_;  // which is no sum of gradients
    }

    void plan_training() {
        static const std::uint32_t some_mask = 0;
        std::vector<std::uint64_t> counts;
        for (const Parameter &parameter : parameters_) counts.push_back(parameter.size);
        // A target's share of the selected scalars is not known yet, but in proportion; only types hang on it.
        const std::vector<std::uint64_t> shares = share_out(most_selected(), targets_);
        for (std::size_t at = 0; at < targets_.size(); ++at) {
            const Parameter &parameter = parameters_[targets_[at].position];
            counts[targets_[at].position] = shares[at];
            sparse_kept_ += shares[at] * kept_bytes(parameter, delta_type_);
            std::uint64_t &when = by_step_ ? choosing_ : accumulating_;  // the gradient at the mask is computed
            when = std::max(when, product_scratch(device_, parameter, tokens_, &some_mask, shares[at]));
        }
        accumulating_ = std::max(accumulating_, optimizer_->scratch_bytes(device_, counts));
        for (std::size_t position = 0; position < parameters_.size(); ++position) {
            kept_ += counts[position] * kept_bytes(parameters_[position], delta_type_);
            training_ += counts[position] * sizeof(float) + optimizer_->state_bytes(counts[position]);
        }
        if (selection_.schedule.drop == SPEFT_DROP_CHANGE) training_ += selected_ * sizeof(float);
    }

    // The training before and after side by side, with lists of what is dropped, grown and kept, and what leaves.
    void plan_moves() {
        constexpr std::uint64_t index = sizeof(std::uint32_t);
        if (by_step_) {
            plan_step_selection();
            return;
        }
        // Rows and columns move with the optimizer; tables of corrections are shared.
        next_ = kept_ + training_ - selected_ * sizeof(float);
        if (optimizer_->state_bytes(1) == 0) next_ += optimizer_->table_bytes();
        if (is_spiel(selection_.method)) {
            moving_ = 6 * index * selected_ + sparse_kept_;
            if (selection_.method == SPEFT_SELECT_SPIEL_AG) plan_candidates();
            return;
        }
        const auto limit = static_cast<std::uint64_t>(selection_.schedule.settled_limit);
        const std::uint64_t count = limit > 0 ? limit : selected_;
        settled_ = sparse_kept_ * count / selected_;
        const std::uint64_t all = 2 * index * (selected_ + count) + settled_ + sparse_kept_;
        moving_ = (limit > 0 ? 2 : 1) * all + accumulators_ + batch_;
    }

    // What the mask of each step's scalars grows to.
    std::uint64_t most_selected() const {
        if (!by_step_) return selected_;
        const auto limit = static_cast<std::uint64_t>(selection_.schedule.settled_limit);
        return std::min(total_size(targets_), selected_ + (limit > 0 ? limit : selected_));
    }

    // The training before and after side by side, gradients too, with lists of the step's scalars, of the rest of the
    // mask and of both together, and what finds the old ones among them.
    void plan_step_selection() {
        constexpr std::uint64_t index = sizeof(std::uint32_t);
        const bool together = selection_.scope == SPEFT_SCOPE_GLOBAL;
        const Window window =
            plan_window(device_, selection_, parameters_,
                        together ? std::vector{selected_} : tensor_budgets(selection_, targets_), held_tokens());
        held_ = window.held;
        choosing_ = std::max(choosing_, window.scratch);
        next_ = kept_ + training_;
        moving_ = index * (3 * selected_ + 3 * most_selected()) + held_;
    }

    void plan_candidates() {
        const std::vector<std::uint64_t> budgets = candidate_budgets(selection_, parameters_);
        for (const std::uint64_t budget : budgets) candidates_ += budget;
        const Window window = plan_window(device_, selection_, parameters_, budgets, held_tokens());
        held_ = window.held;
        accumulating_ = std::max(accumulating_, window.scratch);
    }

    std::uint64_t held_tokens() const { return tokens_ == 0 ? 2048 : tokens_; }

    const Device &device_;
    const SelectionOptions &selection_;
    ScalarType delta_type_;
    const std::vector<Parameter> &parameters_;
    std::uint64_t tokens_;
    std::vector<Target> targets_;
    std::uint64_t selected_;
    std::unique_ptr<Optimizer> optimizer_;
    bool by_step_;
    bool moves_;

    std::uint64_t accumulators_ = 0, batch_ = 0, announced_batch_ = 0;  // batch: what one batch has beside the sums
    std::uint64_t observing_ = 0, accumulating_ = 0;                    // scratch
    std::uint64_t kept_ = 0, sparse_kept_ = 0, training_ = 0;           // of all parameters, of the sparse ones
    std::uint64_t candidates_ = 0, held_ = 0, settled_ = 0;
    std::uint64_t next_ = 0, moving_ = 0, choosing_ = 0;
};

}  // namespace

MemoryPlan plan_memory(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
                       std::uint64_t tokens) {
    check_adapter(options, parameters);
    if (options.selection.method == SPEFT_SELECT_SPARSEGRAD)
        refuse_unsupported("a plan does not know the bases of sparsegrad: plan for meprop, and add theirs");
    const AdapterOptions complete = complete_options(options);
    return Planner(device, complete, parameters, tokens).plan();
}

}  // namespace speft
