// An adapter: what speft/adapter.h describes, above the backends and below the C edge.
//
// Its life is declared, then selected (a Training exists), and merged or not. A call that throws leaves it and the
// host's weights as they were.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/adapter/bound_weights.h"
#include "core/adapter/candidates.h"
#include "core/adapter/changed_weights.h"
#include "core/adapter/context.h"
#include "core/adapter/gradients.h"
#include "core/adapter/held_gradients.h"
#include "core/adapter/index_sets.h"
#include "core/adapter/parameter.h"
#include "core/adapter/residency.h"
#include "core/basis/basis_factors.h"
#include "core/optimizer/optimizer.h"
#include "core/selection/choose_masks.h"
#include "core/storage/adapter_record.h"

namespace speft {

struct AdapterOptions {
    SelectionOptions selection;
    OptimizerOptions optimizer;
    ScalarType delta_type = ScalarType::float32;  // of sparse parameters; or bfloat16
};

struct StepOptions {
    std::vector<Hyperparameters> groups;  // empty: the defaults for all
    bool keep_gradient = false;
    bool allow_missing = false;
    double gradient_scale = 1;
};

// What a reselection moved.
struct Reselection {
    std::int64_t step = 0;
    std::uint64_t dropped = 0;
    std::uint64_t grown = 0;
    std::uint64_t settled = 0;
};

enum class Moved { dropped, grown };

// Throws what creating an adapter of them throws.
void check_adapter(const AdapterOptions &options, const std::vector<Parameter> &parameters);

// A parameter as it is trained in a basis: its directions, in float32. Refuses a basis that is not one of it.
Parameter in_basis(Parameter declared, const BasisShape &basis);

// With the method's defaults, and what it leaves to no choice.
AdapterOptions complete_options(AdapterOptions options);

class Adapter {
public:
    Adapter(std::shared_ptr<Context> context, const AdapterOptions &options, std::vector<Parameter> parameters);
    // Selected and unmerged. `score`: of a score function, which no file has.
    Adapter(std::shared_ptr<Context> context, const AdapterRecord &record, ScoreFunction score = {});

    Context &context() const { return *context_; }
    const std::shared_ptr<Context> &shared_context() const { return context_; }
    // As the host declared them.
    const std::vector<Parameter> &parameters() const { return declared_; }
    // As they are trained: of one in a basis its directions, in float32.
    const std::vector<Parameter> &trained() const { return parameters_; }
    const SelectionOptions &selection() const { return options_.selection; }
    bool selected() const { return training_ != nullptr; }
    // Whether all that was learned is in the weights; and whether the adapter can be trained: where no parameter is
    // trained beside its weights the two are the same.
    bool merged() const { return residence_ == Residence::merged || (!any_beside() && attached()); }
    bool attached() const { return residence_ == Residence::attached; }
    std::int64_t steps() const { return steps_; }
    std::int64_t observations() const { return observations_; }
    const Masks &masks() const;  // INVALID_STATE before the selection
    std::uint64_t settled() const { return training_ ? training_->settled.masks.selected : 0; }
    // Whether `reselect` has to come before the next step; after which step it comes next, 0: none.
    bool reselection_due() const {
        return by_step_ ? held_gradient() : moves_ && clock_.due(steps_) && reselected_ != steps_;
    }
    std::int64_t next_reselection() const;

    void bind(std::size_t parameter, const TensorView &weights);
    void bind(std::size_t parameter, const QuantizedRecord &weights);
    void unbind(std::size_t parameter);
    // NULL: the ordinary basis.
    void bind_basis(std::size_t parameter, std::shared_ptr<BasisFactors> basis);

    void begin_observation(double weight);
    void observe(std::size_t parameter, const Gradient &gradient);
    void finish_observation(double weight);
    void clear_observations();
    void set_mask(std::size_t parameter, std::span<const std::int64_t> indices);
    void set_scores(std::size_t parameter, const TensorView &scores);
    void set_reference(std::size_t parameter, const TensorView &original);
    void select(const speft_progress *progress);

    void accumulate(std::size_t parameter, const Gradient &gradient);
    float *lend_gradient(std::size_t parameter);
    void clear_gradient(std::size_t parameter);
    double clip_gradient(double max_norm);
    void step(const StepOptions &options);
    // Nothing when none is due.
    std::optional<Reselection> reselect(const speft_progress *progress);

    void attach();
    void merge();
    void unmerge();

    // What merging has made of quantized weights, of one parameter or of all.
    struct Requantization {
        std::uint64_t deltas = 0;
        std::uint64_t changed = 0;  // of those scalars: they have another code
        double squares = 0;         // Σ (ŵ − w)² over what was wanted, of the blocks that were quantized anew
        double squared_errors = 0;
    };
    Requantization requantization(std::optional<std::size_t> parameter) const;

    // outputs = inputs (W + Δ)ᵀ, or inputs (W + Δ); of a weight [out, in] the former is the forward product.
    void apply(std::size_t parameter, Factor weight_is, const TensorView &inputs, const TensorView &outputs,
               bool delta_only, Into into);
    // What it refuses; and the product with W alone, of what it does not.
    void check_apply(std::size_t parameter, Factor weight_is, const TensorView &inputs, const TensorView &outputs,
                     bool delta_only) const;
    void apply_weight(std::size_t parameter, Factor weight_is, const TensorView &inputs, const TensorView &outputs,
                      Into into);
    const BoundWeights &weights(std::size_t parameter) const { return weights_[parameter]; }

    // Writes the indices of one parameter, [count].
    void copy_mask(std::size_t parameter, std::int64_t *indices) const;
    // What the last reselection has moved of it.
    std::vector<std::uint32_t> moved(std::size_t parameter, Moved which) const;
    // Writes the ages of one parameter's scalars, [count].
    void copy_ages(std::size_t parameter, std::int64_t *ages) const;
    void *deltas(std::size_t parameter) const;
    ScalarType delta_type(std::size_t parameter) const {
        return parameters_[parameter].role == Role::dense ? ScalarType::float32 : options_.delta_type;
    }

    // The share of |δ| that rounding to the weights' type loses, of one sparse parameter or of all (no value).
    double rounding_loss(std::optional<std::size_t> parameter) const;

    // An adapter with deltas of the ordinary basis, and how much of Σ ΔW² they are.
    struct Ordinary {
        AdapterRecord record;
        double share = 1;
    };
    Ordinary leave_bases(double density) const;

    // For a file; with the state of the training, for a checkpoint.
    AdapterRecord record(bool with_training = false) const;

private:
    // What there is from the selection on.
    struct Training {
        ChangedWeights active;
        ChangedWeights settled;  // no longer trained, of masks that have moved
        bool originals_known = false;
        // One a parameter: of the original scalars where they are not known yet, of all of a weight in a basis.
        std::vector<std::uint64_t> base_hashes;
        Gradients gradients;
        std::unique_ptr<Optimizer> optimizer;
        std::optional<Candidates> candidates;  // SpIEL-AG's
        std::optional<HeldGradients> held;     // where each step's scalars are selected by its gradient
        std::vector<double> arrived;   // Σg² of each parameter as it came, in a window: to notice what the host scales
        Buffer<float> last_deltas;     // δ after the last reselection, [trained]; where drops are by change
        std::vector<OwnedList> moved[2];  // by Moved, one a parameter; empty unless they are tracked
        Reselection reselection;          // what it came from
    };

    Device &device() const { return context_->device(); }
    Training &training() const;
    void require_unselected(const char *call) const;
    void require_observing(const char *call) const;
    void require_bound() const;
    // Not `call` while the step's gradient waits for its scalars to be selected.
    void require_selected_step(const char *call) const;
    bool held_gradient() const { return training_ && training_->held && training_->held->any(); }
    const BasisFactors *basis(std::size_t parameter) const { return bases_[parameter].get(); }
    // Whether its deltas are kept beside its weights, for `apply`, until all of it is merged: those of a basis, and of
    // quantized weights. All others change their weights in place.
    bool beside(std::size_t parameter) const { return basis(parameter) || weights_[parameter].quantized(); }
    bool any_beside() const;
    void bind(std::size_t parameter, BoundWeights weights);
    std::unique_ptr<Training> make_training(Masks masks) const;
    // Those that the adapter writes to: all, or those that it changes in place.
    enum class Claimed { all, in_place };
    std::vector<Claim> claim_weights(Claimed which) const;
    ChangedWeights make_weights(Masks masks) const;
    // Its changed scalars in these weights, all [size] of them in the declared type.
    speft_segment segment_of(const ChangedWeights &changed, std::size_t parameter, void *weights) const;
    // In the host's weights: none where it is trained beside them.
    speft_segment segment_of(const ChangedWeights &changed, std::size_t parameter) const;
    speft_segment step_segment_of(const ChangedWeights &changed, std::size_t parameter) const;
    Buffer<std::byte> stand_in_weights(const ChangedWeights &changed, std::size_t parameter) const;
    void accumulate_trained(Training &state, std::size_t parameter, const Gradient &gradient);
    void require_attached(const char *what) const;
    std::vector<speft_segment> segments_of(const ChangedWeights &weights) const;
    // The active ones of each parameter, then the settled ones of each.
    std::vector<speft_segment> all_segments(const Training &training) const;
    void capture_originals(const ChangedWeights &changed) const;
    // As the host's model computes with it now, for `room` see BoundWeights::values.
    const void *current_weights(std::size_t parameter, Buffer<std::byte> &room) const;
    void learn_originals(Training &training) const;
    // Learned, or as unmerging left them.
    void check_base(Training &training) const;
    bool has_originals(const Training &training, std::size_t parameter) const;
    // All of them or, when one is not what was merged there, none: INVALID_STATE. One segment a parameter, or several
    // rounds of that.
    void restore_originals(const std::vector<speft_segment> &segments) const;
    Buffer<float> widen_deltas(const ChangedWeights &weights, std::size_t parameter) const;
    void put_deltas(const ChangedWeights &weights, std::size_t parameter, std::span<const float> deltas) const;
    std::vector<float> take_deltas(const ChangedWeights &weights, std::size_t parameter) const;
    ParameterTraining record_training(const Training &training, std::size_t parameter) const;
    ParameterRecord record_ordinary(ParameterRecord stored, std::size_t parameter, double density, double &kept,
                                    double &all) const;
    std::optional<std::size_t> record_basis(AdapterRecord &record, std::size_t parameter) const;
    void restore_bases(const AdapterRecord &record);
    // Brings back what `checkpoint` recorded beyond an adapter; before the first step.
    void restore(Training &training, const AdapterRecord &record);

    Observation make_observation() const;
    SelectionInput selection_input(std::uint64_t round = 0) const;

    // What is in the weights: merging.cpp.
    void put_in_place(Training &training) const;
    // Merges a parameter that is trained beside its weights; what it has begun, `unfold` undoes.
    void fold(const Training &training, std::size_t parameter);
    void fold_basis(const Training &training, std::size_t parameter) const;
    Requantization fold_quantized(const Training &training, std::size_t parameter) const;
    void check_folded() const;
    void unfold();
    SparseMatrix delta_matrix(const ChangedWeights &changed, std::size_t parameter) const;
    std::uint64_t hash_weights(std::size_t parameter) const {
        return weights_[parameter].hash(device(), declared_[parameter]);
    }

    // Masks that move: reselection.cpp and step_selection.cpp.
    void hold(Training &training, std::size_t parameter, const Gradient &gradient) const;
    struct StepScalars {
        std::vector<OwnedList> lists;
        std::vector<Buffer<float>> values;
    };
    StepScalars choose_step(const HeldGradients &held) const;
    void keep_above(StepScalars &step, std::size_t parameter) const;
    std::unique_ptr<Training> select_step(const Training &before) const;
    bool in_window() const;
    // The candidates of parameters [first, end) get what the host has done to the gradient of the selected scalars:
    // unscaling, clipping.
    void follow_host(Training &training, std::size_t first, std::size_t end) const;
    std::unique_ptr<Training> move_by_spiel(const Training &before) const;
    std::unique_ptr<Training> move_by_salience(const Training &before, const speft_progress *progress) const;
    // A training on other masks, with the original bits and deltas of what has been changed before; the optimizer is
    // moved too. Writes to no weight.
    std::unique_ptr<Training> make_moved_training(const Training &before, Masks masks) const;
    void note_moved(Training &after, Moved which, std::size_t parameter, const OwnedList &list) const;
    ChangedWeights part_of(const ChangedWeights &weights, const std::vector<OwnedList> &lists) const;
    // One a parameter, none of a dense one: where each scalar of `after` was in `before`.
    std::vector<Buffer<std::uint32_t>> find_all(const Masks &before, const Masks &after) const;
    void carry(const ChangedWeights &from, const ChangedWeights &to) const;
    void carry(const ChangedWeights &from, const ChangedWeights &to,
               const std::vector<Buffer<std::uint32_t>> &positions) const;
    std::uint32_t rounding_key(std::size_t parameter) const;
    void rewind();
    void start_dense(Training &training) const;

    std::shared_ptr<Context> context_;
    AdapterOptions options_;
    std::vector<Parameter> declared_;
    std::vector<Parameter> parameters_;  // as they are trained
    std::vector<std::shared_ptr<BasisFactors>> bases_;  // one a parameter; NULL: the ordinary one
    bool any_basis_ = false;
    std::vector<BoundWeights> weights_;
    std::vector<Claim> claims_;  // one a parameter that the adapter has written to
    // What merging has replaced of a parameter that is trained beside its weights: all of them; and the hash of what
    // it wrote.
    struct Folded {
        Buffer<std::byte> originals;
        std::uint64_t hash = 0;
        Requantization requantization;
    };
    std::vector<Folded> folded_;  // one a parameter; empty but while merged

    std::optional<Observation> observation_;  // until the selection; with dynamic masks always
    std::vector<std::optional<std::vector<std::uint32_t>>> given_masks_;
    std::vector<Buffer<float>> given_scores_;
    std::vector<Buffer<std::byte>> references_;

    std::unique_ptr<Training> training_;
    // Of what was learned: not in effect; as training needs it, in the weights but for parameters that are trained
    // beside them, whose deltas `apply` adds; all in the weights. Without such parameters there is no difference
    // between the last two, and it is called attached.
    enum class Residence { unmerged, attached, merged };
    Residence residence_ = Residence::unmerged;
    Clock clock_;
    bool moves_ = false;  // not of an adapter that was loaded from a file without a training
    bool by_step_ = false;  // as moves_, of masks that are selected by each step's gradient
    std::int64_t reselected_ = 0;  // the step of the last reselection
    std::int64_t steps_ = 0;
    std::int64_t observations_ = 0;
};

}  // namespace speft
