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
#include "core/adapter/parameter.h"
#include "core/adapter/residency.h"
#include "core/optimizer/adamw.h"
#include "core/selection/choose_masks.h"
#include "core/storage/adapter_record.h"

namespace speft {

struct StepOptions {
    std::vector<Hyperparameters> groups;  // empty: the defaults for all
    bool keep_gradient = false;
    bool allow_missing = false;
    double gradient_scale = 1;
};

class Adapter {
public:
    Adapter(std::shared_ptr<Context> context, const SelectionOptions &selection, const OptimizerOptions &optimizer,
            std::vector<Parameter> parameters);
    // Selected and unmerged.
    Adapter(std::shared_ptr<Context> context, const AdapterRecord &record);

    Context &context() const { return *context_; }
    const std::vector<Parameter> &parameters() const { return parameters_; }
    const SelectionOptions &selection() const { return selection_; }
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
    float *deltas(std::size_t parameter) const;

    AdapterRecord record() const;

private:
    // What there is from the selection on.
    struct Training {
        Masks masks;
        Buffer<std::byte> originals;                  // θ0 at the masks, each parameter's in its own type
        std::vector<std::uint64_t> original_offsets;  // in bytes, one a parameter
        Buffer<float> deltas;                         // [trained]
        bool originals_known = false;
        std::vector<std::uint64_t> base_hashes;  // of a loaded adapter whose originals are not known yet
        Gradients gradients;
        AdamW optimizer;
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
    void capture_originals(Training &training) const;
    void start_dense(Training &training) const;

    std::shared_ptr<Context> context_;
    SelectionOptions selection_;
    OptimizerOptions optimizer_options_;
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
