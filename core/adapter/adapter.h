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

#include "core/adapter/context.h"
#include "core/adapter/gradients.h"
#include "core/adapter/masks.h"
#include "core/adapter/packed_arrays.h"
#include "core/adapter/parameter.h"
#include "core/adapter/residency.h"
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

// Throws what creating an adapter of them throws.
void check_adapter(const AdapterOptions &options, const std::vector<Parameter> &parameters);

class Adapter {
public:
    Adapter(std::shared_ptr<Context> context, const AdapterOptions &options, std::vector<Parameter> parameters);
    // Selected and unmerged.
    Adapter(std::shared_ptr<Context> context, const AdapterRecord &record);

    Context &context() const { return *context_; }
    const std::vector<Parameter> &parameters() const { return parameters_; }
    const SelectionOptions &selection() const { return options_.selection; }
    bool selected() const { return training_ != nullptr; }
    bool merged() const { return merged_; }
    std::int64_t steps() const { return steps_; }
    std::int64_t observations() const { return observations_; }
    const Masks &masks() const;  // INVALID_STATE before the selection

    // NULL unbinds.
    void bind(std::size_t parameter, const TensorView *weights);

    void begin_observation(double weight);
    void observe(std::size_t parameter, const Gradient &gradient);
    void finish_observation(double weight);
    void clear_observations();
    void set_mask(std::size_t parameter, std::span<const std::int64_t> indices);
    void set_scores(std::size_t parameter, const TensorView &scores);
    void select(const speft_progress *progress);

    void accumulate(std::size_t parameter, const Gradient &gradient);
    float *lend_gradient(std::size_t parameter);
    void clear_gradient(std::size_t parameter);
    double clip_gradient(double max_norm);
    void step(const StepOptions &options);

    void merge();
    void unmerge();

    // Writes the indices of one parameter, [count].
    void copy_mask(std::size_t parameter, std::int64_t *indices) const;
    void *deltas(std::size_t parameter) const;
    ScalarType delta_type(std::size_t parameter) const {
        return parameters_[parameter].role == Role::dense ? ScalarType::float32 : options_.delta_type;
    }

    // The share of |δ| that rounding to the weights' type loses, of one sparse parameter or of all (no value).
    double rounding_loss(std::optional<std::size_t> parameter) const;

    AdapterRecord record() const;
    // The same, with the state of the training.
    AdapterRecord checkpoint() const;

private:
    // What there is from the selection on.
    struct Training {
        Masks masks;
        PackedArrays originals;  // θ0 at the masks, in the weights' types
        PackedArrays deltas;
        bool originals_known = false;
        std::vector<std::uint64_t> base_hashes;  // of a loaded adapter whose originals are not known yet
        Gradients gradients;
        std::unique_ptr<Optimizer> optimizer;
    };

    Device &device() const { return context_->device(); }
    Training &training() const;
    void require_unselected(const char *call) const;
    void require_bound() const;
    std::unique_ptr<Training> make_training(Masks masks) const;
    std::vector<Claim> claim_weights() const;
    speft_segment segment_of(const Training &training, std::size_t parameter) const;
    std::vector<speft_segment> segments_of(const Training &training) const;
    std::vector<std::byte> copy_originals(const Training &training) const;
    std::uint64_t hash_originals(const Training &training, const std::vector<std::byte> &originals,
                                 std::size_t parameter) const;
    PackedArrays make_originals(const Masks &masks) const;
    void capture_originals(Training &training) const;
    void learn_originals(Training &training) const;
    void put_deltas(Training &training, std::size_t parameter, const std::vector<float> &deltas) const;
    std::vector<float> take_deltas(const Training &training, std::size_t parameter) const;
    // Brings back what `checkpoint` recorded beyond an adapter; before the first step.
    void restore(Training &training, const TrainingRecord &record);
    std::uint32_t rounding_key(std::size_t parameter) const;
    void start_dense(Training &training) const;

    std::shared_ptr<Context> context_;
    AdapterOptions options_;
    std::vector<Parameter> parameters_;
    std::vector<void *> weights_;  // bound memory; NULL: none
    std::vector<bool> bound_;
    std::vector<Claim> claims_;    // one a parameter while merged

    std::optional<Observation> observation_;  // until the selection
    std::vector<std::optional<std::vector<std::uint32_t>>> given_masks_;
    std::vector<Buffer<float>> given_scores_;

    std::unique_ptr<Training> training_;
    bool merged_ = false;
    std::int64_t steps_ = 0;
    std::int64_t observations_ = 0;
};

}  // namespace speft
