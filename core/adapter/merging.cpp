// What is in the host's weights: merging and unmerging, and parameters that are trained beside their weights: merging
// changes all of those in a basis, and quantizes blocks of quantized ones anew.
#include "core/adapter/adapter.h"

#include <utility>

#include "core/base/hash.h"
#include "core/base/status.h"

namespace speft {

// The bits at the masks of a loaded adapter, whose base is known by hash alone so far.
void Adapter::learn_originals(Training &training) const {
    capture_originals(training.active);
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (parameters_[index].role == Role::dense) continue;  // it brings its values, whatever was there
        std::vector<std::byte> originals(training.active.originals.bytes(index));
        device().copy_to_host(originals.data(), training.active.originals.data(index), originals.size());
        const std::uint64_t hash =
            basis(index) ? hash_weights(index) : hash_bytes(originals.data(), originals.size());
        if (hash != training.base_hashes[index])
            refuse("the base weights of '" + parameters_[index].name +
                   "' are not those the adapter was trained on: is this the right model?");
    }
    training.originals_known = true;
}

// Of a parameter that is trained beside its weights. In a basis no original bits are kept to compare with, but a hash.
bool Adapter::has_originals(const Training &training, std::size_t parameter) const {
    if (basis(parameter)) return hash_weights(parameter) == training.base_hashes[parameter];
    Buffer<std::byte> room;
    void *const values = weights_[parameter].values(device(), declared_[parameter], room);
    for (const ChangedWeights *changed : {&training.active, &training.settled}) {
        const std::uint64_t bytes = changed->originals.bytes(parameter);
        const Buffer<std::byte> present(device(), bytes);
        speft_segment segment = segment_of(*changed, parameter, values);
        segment.originals = present.data();
        device().run(speft_capture{&segment, 1});
        std::vector<std::byte> now(static_cast<std::size_t>(bytes)), kept(now.size());
        device().copy_to_host(now.data(), present.data(), bytes);
        device().copy_to_host(kept.data(), changed->originals.data(parameter), bytes);
        if (now != kept) return false;
    }
    return true;
}

void Adapter::check_base(Training &training) const {
    if (!training.originals_known) {
        learn_originals(training);
        return;
    }
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (beside(index) && !has_originals(training, index))
            refuse("the weights of '" + parameters_[index].name +
                   "', which it is trained beside, are not the original ones: is this the right model, and unmerged?");
}

// Weights that hold the merged bits already are taken as they are: a host may have restored its own copy of the model
// after loading a checkpoint.
void Adapter::put_in_place(Training &state) const {
    const std::vector<speft_segment> segments = all_segments(state);
    std::vector<std::uint64_t> differing(segments.size());
    const speft_merge_segments merging{segments.data(), segments.size(), differing.data()};
    device().run(merging);

    std::vector<speft_segment> replaced;
    for (std::size_t at = 0; at < segments.size(); ++at) {
        if (differing[at] == 0) continue;
        const Parameter &parameter = parameters_[at % parameters_.size()];
        if (parameter.role == Role::sparse)
            refuse("the base weights of '" + parameter.name +
                   "' are not those that unmerging restored: weights changed behind the adapter");
        replaced.push_back(segments[at]);
    }
    if (!replaced.empty()) {  // dense parameters: what the host has put there is what unmerging will bring back
        device().run(speft_capture{replaced.data(), replaced.size()});
        device().run(merging);
    }
}

// ---- parameters that are trained beside their weights ----

SparseMatrix Adapter::delta_matrix(const ChangedWeights &changed, std::size_t parameter) const {
    const Parameter &trained = parameters_[parameter];
    SparseMatrix delta;
    delta.mask = list_of(changed.masks.slots[parameter]);
    delta.values = changed.deltas.data(parameter);
    delta.type = delta_type(parameter);
    delta.rows = static_cast<std::uint64_t>(trained.shape[0]);
    delta.columns = static_cast<std::uint64_t>(trained.shape[1]);
    return delta;
}

void Adapter::fold(const Training &training, std::size_t parameter) {
    Folded &folded = folded_[parameter];
    folded.originals = weights_[parameter].copy(device(), declared_[parameter]);
    if (basis(parameter))
        fold_basis(training, parameter);
    else
        folded.requantization = fold_quantized(training, parameter);
    folded.hash = hash_weights(parameter);
}

void Adapter::fold_basis(const Training &training, std::size_t parameter) const {
    const Parameter &declared = declared_[parameter];
    const Buffer<float> delta = basis(parameter)->turn_back(device(), delta_matrix(training.active, parameter));
    speft_segment whole{};
    whole.count = declared.size;
    whole.weights = weights_[parameter].dense();
    whole.originals = folded_[parameter].originals.data();
    whole.deltas = delta.data();
    whole.weights_type = static_cast<std::int32_t>(declared.type);
    whole.deltas_type = SPEFT_SCALAR_FLOAT32;
    std::uint64_t differing = 0;  // none: they have just been copied
    device().run(speft_merge_segments{&whole, 1, &differing});
}

// Trained and settled deltas at once: a block quantized twice would be rounded twice.
Adapter::Requantization Adapter::fold_quantized(const Training &training, std::size_t parameter) const {
    const SparseMatrix active = delta_matrix(training.active, parameter);
    const SparseMatrix settled = delta_matrix(training.settled, parameter);
    const OwnedList all = unite(device(), active.mask, settled.mask);
    const Buffer<std::byte> values(device(), all.count * size_of(active.type));
    for (const SparseMatrix &some : {active, settled})
        take(device(), values.data(), some.values, find_positions(device(), some.mask, all.view()).data(), all.count,
             size_of(some.type));

    const QuantizedWeights &quantized = *weights_[parameter].quantized();
    Requantization done;
    done.deltas = all.count;
    std::uint64_t not_finite = 0;
    speft_requantize_blocks requantize{};
    requantize.quantized = quantized.view();
    requantize.codes = quantized.codes();
    if (quantized.quantizes_absmax())
        requantize.absmax_codes = static_cast<std::uint8_t *>(quantized.absmax());
    else
        requantize.absmax = static_cast<float *>(quantized.absmax());
    requantize.indices = all.buffer.data();
    requantize.values = values.data();
    requantize.count = all.count;
    requantize.values_type = static_cast<std::int32_t>(active.type);
    requantize.not_finite = &not_finite;
    requantize.changed = &done.changed;
    requantize.squares = &done.squares;
    requantize.squared_errors = &done.squared_errors;
    device().run(requantize);
    if (not_finite > 0)
        refuse("the weights of '" + declared_[parameter].name + "' cannot be quantized with its deltas: " +
               std::to_string(not_finite) + " would not be finite");
    return done;
}

Adapter::Requantization Adapter::requantization(std::optional<std::size_t> parameter) const {
    if (parameter && !weights_[*parameter].quantized())
        refuse("the weights of '" + declared_[*parameter].name + "' are not quantized");
    if (residence_ != Residence::merged) refuse_state("nothing is quantized anew until speft_merge");
    Requantization sum;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (!weights_[index].quantized() || (parameter && *parameter != index)) continue;
        const Requantization &one = folded_[index].requantization;
        sum.deltas += one.deltas;
        sum.changed += one.changed;
        sum.squares += one.squares;
        sum.squared_errors += one.squared_errors;
    }
    return sum;
}

void Adapter::check_folded() const {
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (folded_[index].originals && hash_weights(index) != folded_[index].hash)
            refuse_state("weights changed behind the adapter: those of '" + declared_[index].name +
                         "' are not what it wrote; nothing was restored");
}

void Adapter::unfold() {
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (!folded_[index].originals) continue;
        weights_[index].restore(device(), folded_[index].originals);
        folded_[index] = {};
    }
}

// ---- the calls ----

void Adapter::attach() {
    Training &state = training();
    if (attached()) return;
    require_bound();
    if (residence_ == Residence::merged) {
        check_folded();
        unfold();
        for (std::size_t index = 0; index < parameters_.size(); ++index)
            if (beside(index)) claims_[index] = {};
    } else {
        std::vector<Claim> claims = claim_weights(Claimed::in_place);
        check_base(state);
        put_in_place(state);
        claims_ = std::move(claims);
    }
    residence_ = Residence::attached;
}

void Adapter::merge() {
    if (!any_beside()) {
        attach();
        return;
    }
    Training &state = training();
    if (residence_ == Residence::merged) return;
    require_bound();
    std::vector<Claim> claims = claim_weights(Claimed::all);
    if (residence_ == Residence::unmerged) check_base(state);
    try {
        for (std::size_t index = 0; index < parameters_.size(); ++index)
            if (beside(index)) fold(state, index);
        if (residence_ == Residence::unmerged) put_in_place(state);  // all or nothing, and so the last
    } catch (...) {
        unfold();
        throw;
    }
    claims_ = std::move(claims);
    residence_ = Residence::merged;
}

void Adapter::restore_originals(const std::vector<speft_segment> &segments) const {
    std::vector<std::uint64_t> differing(segments.size());
    device().run(speft_unmerge_segments{segments.data(), segments.size(), differing.data()});
    for (std::size_t at = 0; at < segments.size(); ++at)
        if (differing[at] > 0)
            refuse_state("weights changed behind the adapter: " + std::to_string(differing[at]) + " of " +
                         std::to_string(segments[at].count) + " trained weights of '" +
                         parameters_[at % parameters_.size()].name +
                         "' are not what it wrote; nothing was restored");
}

void Adapter::unmerge() {
    Training &state = training();
    if (residence_ == Residence::unmerged) return;
    require_bound();
    check_folded();
    restore_originals(all_segments(state));
    unfold();
    for (Claim &claim : claims_) claim = {};
    residence_ = Residence::unmerged;
}

}  // namespace speft
