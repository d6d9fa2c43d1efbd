#include "core/adapter/memory_plan.h"

#include <algorithm>
#include <limits>
#include <set>

#include "core/base/status.h"
#include "core/basis/basis_memory.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

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
    // `declared` by the host; `parameters` as they are trained.
    Planner(Device &device, const AdapterOptions &options, const std::vector<Parameter> &declared,
            const std::vector<Parameter> &parameters, const PlannedBases &bases, std::uint64_t tokens)
        : device_(device), selection_(options.selection), delta_type_(options.delta_type), declared_(declared),
          parameters_(parameters), bases_(bases), tokens_(tokens), targets_(find_targets(parameters)),
          selected_(count_selected(options.selection, parameters)),
          optimizer_(make_optimizer(options.optimizer, parameters)),
          by_step_(selects_by_step(selection_)),
          moves_((selection_.schedule.reselect_every > 0 || by_step_) && selected_ > 0) {
        plan_bases();
        plan_observation();
        plan_training();
        if (moves_) plan_moves();
        plan_arrivals();
        plan_products();
        plan_merging();
    }

    MemoryPlan plan() const {
        MemoryPlan plan;
        const std::uint64_t selecting = std::max(observing_, selection_scratch(device_, selection_, parameters_));
        const std::uint64_t observed = factors_ + accumulators_ + rotating_ + observing_;
        plan.fitting = fitting_;
        plan.observation = observed + batch_;
        plan.announced_observation = observed + announced_batch_;
        plan.selection = factors_ + accumulators_ + announced_batch_ + selecting +
                         (by_step_ ? kept_ - sparse_kept_ : kept_);  // the masks of steps are empty at first
        const std::uint64_t steady = factors_ + kept_ + training_ + optimizer_->table_bytes() + settled_;
        plan.training = steady + accumulating_ + std::max(arriving_, candidates_ * candidate_step_bytes) +
                        candidates_ * candidate_bytes;
        if (moves_)
            plan.reselection = steady + candidates_ * candidate_bytes + std::max(next_ + moving_, ranking_) +
                               std::max({accumulating_, selecting, choosing_});
        if (has_products_) plan.products = steady + applying_ + std::max(accumulating_, multiplying_);
        if (factors_ > 0) plan.merging = steady + merging_ + std::max(accumulating_, turning_);
        return plan;
    }

private:
    const BasisShape *basis(std::size_t position) const { return bases_[position].get(); }

    // Fitted one after the other, while all their sums are there.
    void plan_bases() {
        std::set<const BasisShape *> known;
        std::uint64_t sums = 0, observing = 0, fitted = 0, most = 0;
        for (std::size_t position = 0; position < bases_.size(); ++position) {
            const BasisShape *const shape = basis(position);
            if (!shape || !known.insert(shape).second) continue;
            const StepMemory fit = plan_fitting(device_, *shape);
            observing = std::max({observing, plan_observing(device_, *shape).scratch,
                                  product_scratch(device_, declared_[position], tokens_, nullptr,
                                                  declared_[position].size)});
            most = std::max(most, fitted + fit.buffers + fit.scratch);
            sums += observed_bytes(*shape);
            fitted += fit.kept;
            factors_ += factor_bytes(*shape);
        }
        if (!known.empty()) fitting_ = sums + std::max({observing, most, factors_});
    }

    void plan_observation() {
        const Statistic statistic = statistic_of(selection_);
        for (const Target &target : targets_) {
            const Parameter &parameter = parameters_[target.position];
            const bool columns = statistic == Statistic::column_squares;
            if (statistic != Statistic::none || selection_.method == SPEFT_SELECT_GIVEN_SCORES)
                accumulators_ += (columns ? target.columns() : target.size) * sizeof(float);
            if (selection_.method == SPEFT_SELECT_WEIGHT_CHANGE)  // its references
                accumulators_ += target.size * size_of(parameter.type);
            if (!held_dense(target.position))
                observing_ = std::max(observing_, observation_scratch(device_, parameter, statistic, tokens_));
            if (!basis(target.position) || statistic == Statistic::none) continue;
            const StepMemory rotation = plan_rotation(target.position);
            rotating_ = std::max(rotating_, rotation.buffers);
            observing_ = std::max(observing_, rotation.scratch);
        }
        if (statistic != Statistic::none) batch_ = accumulators_;
        if (statistic == Statistic::mean_of_absolutes) announced_batch_ = batch_;  // which is no sum of gradients
    }

    // Bytes a trained scalar takes before there is a gradient: its index where there is a mask, its original bits
    // unless it is in a basis, and its delta.
    std::uint64_t kept_bytes(std::size_t position) const {
        const Parameter &parameter = parameters_[position];
        const bool sparse = parameter.role == Role::sparse;
        return (sparse ? sizeof(std::uint32_t) : 0) + (basis(position) ? 0 : size_of(parameter.type)) +
               size_of(sparse ? delta_type_ : ScalarType::float32);
    }

    void plan_training() {
        static const std::uint32_t some_mask = 0;
        for (const Parameter &parameter : parameters_) counts_.push_back(parameter.size);
        // A target's share of the selected scalars is not known yet, but in proportion; only types hang on it.
        const std::vector<std::uint64_t> shares = share_out(most_selected(), targets_);
        for (std::size_t at = 0; at < targets_.size(); ++at) {
            const std::size_t position = targets_[at].position;
            counts_[position] = shares[at];
            sparse_kept_ += shares[at] * kept_bytes(position);
            if (basis(position)) accumulating_ = std::max(accumulating_, plan_rotation(position).scratch);
            if (basis(position) && held_dense(position)) continue;
            std::uint64_t &when = by_step_ ? choosing_ : accumulating_;  // the gradient at the mask is computed
            when = std::max(when, product_scratch(device_, parameters_[position], tokens_, &some_mask, shares[at]));
        }
        accumulating_ = std::max(accumulating_, optimizer_->scratch_bytes(device_, counts_));
        for (std::size_t position = 0; position < parameters_.size(); ++position) {
            kept_ += counts_[position] * kept_bytes(position);
            training_ += counts_[position] * sizeof(float) + optimizer_->state_bytes(counts_[position]);
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
        const Window window = plan_window(together ? std::vector{selected_} : tensor_budgets(selection_, targets_));
        held_ = window.held;
        choosing_ = std::max(choosing_, window.scratch);
        next_ = kept_ + training_;
        moving_ = index * (3 * selected_ + 3 * most_selected()) + held_;
        ranking_ = index * selected_ + window.sums + held_;
    }

    void plan_candidates() {
        const std::vector<std::uint64_t> budgets = candidate_budgets(selection_, parameters_);
        for (const std::uint64_t budget : budgets) candidates_ += budget;
        const Window window = plan_window(budgets);
        held_ = window.held + window.sums;
        accumulating_ = std::max(accumulating_, window.scratch);
    }

    std::uint64_t held_tokens() const { return tokens_ == 0 ? 2048 : tokens_; }

    // Whether a gradient from activations is held added up: else its x and dy are.
    bool held_dense(std::size_t position) const {
        return parameters_[position].shape.size() != 2 ||
               (basis(position) && !basis(position)->rotates_activations(held_tokens()));
    }

    std::uint64_t held_bytes(std::size_t position) const {
        const Parameter &parameter = parameters_[position];
        if (held_dense(position)) return parameter.size * sizeof(float);
        return held_tokens() * static_cast<std::uint64_t>(parameter.shape[0] + parameter.shape[1]) *
               size_of(parameter.type);
    }

    // Gradients that are held until scalars are chosen by them; what ranking adds up of them, and its scratch.
    struct Window {
        std::uint64_t held = 0;
        std::uint64_t sums = 0;
        std::uint64_t scratch = 0;
    };

    Window plan_window(const std::vector<std::uint64_t> &budgets) const {
        Window window;
        bool any_dense = false;
        for (const Target &target : targets_) {
            window.held += held_bytes(target.position);
            any_dense = any_dense || held_dense(target.position);
        }
        std::vector<speft_product_factors> parts(targets_.size());
        std::vector<speft_product_score> products(targets_.size());
        std::vector<speft_score> scores;
        for (std::size_t at = 0; at < targets_.size(); ++at) {
            const Parameter &parameter = parameters_[targets_[at].position];
            scores.push_back(score_of(SPEFT_SCORE_ABS_GRADIENT, parameter.size));
            if (held_dense(targets_[at].position)) continue;
            parts[at].tokens = held_tokens();
            parts[at].x_type = parts[at].dy_type = static_cast<std::int32_t>(parameter.type);
            products[at].parts = &parts[at];
            products[at].count = 1;
            products[at].out = static_cast<std::uint64_t>(parameter.shape[0]);
            products[at].in = static_cast<std::uint64_t>(parameter.shape[1]);
            products[at].layout = SPEFT_LAYOUT_OUT_IN;
            if (!any_dense) continue;  // one that is makes sums of all
            window.sums += parameter.size * sizeof(float);
            window.scratch = std::max(
                window.scratch, product_scratch(device_, parameter, held_tokens(), nullptr, parameter.size));
        }
        const std::size_t each = selection_.scope == SPEFT_SCOPE_GLOBAL ? targets_.size() : 1;
        for (std::size_t part = 0; part < budgets.size(); ++part)
            window.scratch = std::max(
                window.scratch,
                any_dense ? device_.scratch_bytes(speft_select_top{&scores[part], each, budgets[part], nullptr, nullptr,
                                                                   nullptr, nullptr})
                          : device_.scratch_bytes(speft_select_product{&products[part], each, budgets[part], nullptr,
                                                                       nullptr, nullptr, nullptr}));
        return window;
    }

    StepMemory plan_rotation(std::size_t position) const {
        StepMemory rotation = plan_rotating(device_, *basis(position), held_tokens(), declared_[position].type);
        if (held_dense(position))
            rotation.scratch = std::max(rotation.scratch, product_scratch(device_, declared_[position], tokens_,
                                                                          nullptr, declared_[position].size));
        return rotation;
    }

    // The gradients that are held, while the last of them comes, whichever that is: brought into its basis and copied.
    void plan_arrivals() {
        arriving_ = held_;
        for (const Target &target : targets_) {
            if (!basis(target.position)) continue;
            const StepMemory rotation = plan_rotation(target.position);
            const std::uint64_t own = by_step_ ? held_bytes(target.position) : 0;
            arriving_ = std::max(arriving_, held_ - own + std::max(rotation.buffers, rotation.kept + own));
        }
    }

    // y and dx of a layer, while the gradients of the others are held.
    void plan_products() {
        for (const Target &target : targets_) {
            const Parameter &declared = declared_[target.position];
            if (declared.shape.size() != 2 || declared.size == 0) continue;
            has_products_ = true;
            const std::uint64_t others = by_step_ ? held_ - held_bytes(target.position) : held_;
            applying_ = std::max(applying_, others);
            for (const Factor weight_is : {Factor::plain, Factor::transposed}) {
                const bool transposed = weight_is == Factor::transposed;
                const TensorView inputs = matrix_of(device_, nullptr, held_tokens(),
                                                    static_cast<std::uint64_t>(declared.shape[transposed ? 1 : 0]),
                                                    declared.type);
                const TensorView outputs = matrix_of(device_, nullptr, held_tokens(),
                                                     static_cast<std::uint64_t>(declared.shape[transposed ? 0 : 1]),
                                                     declared.type);
                std::uint64_t scratch =
                    device_.scratch_bytes(make_product(inputs, nullptr, declared.type, weight_is, outputs));
                if (const BasisShape *const shape = basis(target.position)) {
                    // Which way they go hangs on the mask, which may be empty at first.
                    for (const std::uint64_t selected : {std::uint64_t{0}, counts_[target.position]}) {
                        const StepMemory product = plan_applying(device_, *shape, held_tokens(), selected,
                                                                 declared.type, weight_is);
                        applying_ = std::max(applying_, others + product.buffers);
                        scratch = std::max(scratch, product.scratch);
                    }
                    accumulating_ = std::max(accumulating_, scratch);  // a layer of each step
                } else {
                    const SparseMatrix delta{{nullptr, counts_[target.position]}, nullptr, delta_type_,
                                             static_cast<std::uint64_t>(declared.shape[0]),
                                             static_cast<std::uint64_t>(declared.shape[1])};
                    scratch = std::max(scratch,
                                       device_.scratch_bytes(make_product(inputs, delta, weight_is, outputs)));
                }
                multiplying_ = std::max(multiplying_, scratch);
            }
        }
    }

    // Of each parameter in a basis its weight is kept, while those before it are already.
    void plan_merging() {
        std::uint64_t originals = 0;
        for (const Target &target : targets_) {
            if (!basis(target.position)) continue;
            const Parameter &declared = declared_[target.position];
            originals += declared.size * size_of(declared.type);
            const StepMemory turning = plan_turning_back(device_, *basis(target.position), counts_[target.position]);
            merging_ = std::max(merging_, originals + turning.buffers);
            turning_ = std::max(turning_, turning.scratch);
        }
    }

    const Device &device_;
    const SelectionOptions &selection_;
    ScalarType delta_type_;
    const std::vector<Parameter> &declared_, &parameters_;
    const PlannedBases &bases_;
    std::uint64_t tokens_;
    std::vector<Target> targets_;
    std::uint64_t selected_;
    std::unique_ptr<Optimizer> optimizer_;
    bool by_step_;
    bool moves_;
    bool has_products_ = false;
    std::vector<std::uint64_t> counts_;  // trained scalars of each parameter

    std::uint64_t fitting_ = 0, factors_ = 0;
    std::uint64_t accumulators_ = 0, batch_ = 0, announced_batch_ = 0;  // batch: what one batch has beside the sums
    std::uint64_t observing_ = 0, accumulating_ = 0, multiplying_ = 0, turning_ = 0;  // scratch
    std::uint64_t kept_ = 0, sparse_kept_ = 0, training_ = 0;           // of all parameters, of the sparse ones
    std::uint64_t candidates_ = 0, held_ = 0, settled_ = 0;
    std::uint64_t rotating_ = 0, arriving_ = 0, applying_ = 0, merging_ = 0;
    std::uint64_t next_ = 0, moving_ = 0, ranking_ = 0, choosing_ = 0;
};

}  // namespace

MemoryPlan plan_memory(Device &device, const AdapterOptions &options, const std::vector<Parameter> &parameters,
                       const PlannedBases &bases, std::uint64_t tokens) {
    check_adapter(options, parameters);
    std::vector<Parameter> trained;
    for (std::size_t position = 0; position < parameters.size(); ++position) {
        const Parameter &declared = parameters[position];
        const bool wanted = options.selection.method == SPEFT_SELECT_SPARSEGRAD && declared.role == Role::sparse;
        if (bases[position] && options.selection.method != SPEFT_SELECT_SPARSEGRAD)
            refuse("plan: bases are for the selection method sparsegrad; '" + declared.name + "' has one");
        if (!bases[position] && wanted && declared.size > 0)
            refuse("plan: bases must have one for '" + declared.name + "', as sparsegrad has");
        trained.push_back(bases[position] ? in_basis(declared, *bases[position]) : declared);
    }
    check_adapter(options, trained);  // with fewer directions there are fewer scalars
    const AdapterOptions complete = complete_options(options);
    return Planner(device, complete, parameters, trained, bases, tokens).plan();
}

}  // namespace speft
