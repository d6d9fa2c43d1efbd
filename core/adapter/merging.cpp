// What is in the host's weights: merging and unmerging, and parameters in a basis, which change all of their weight.
#include "core/adapter/adapter.h"

#include <utility>

#include "core/base/hash.h"
#include "core/base/status.h"

namespace speft {

std::uint64_t Adapter::hash_weights(std::size_t parameter) const {
    std::vector<std::byte> bits(declared_[parameter].size * size_of(declared_[parameter].type));
    device().copy_to_host(bits.data(), weights_[parameter], bits.size());
    return hash_bytes(bits.data(), bits.size());
}

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

void Adapter::check_base(Training &training) const {
    if (!training.originals_known) {
        learn_originals(training);
        return;
    }
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (basis(index) && hash_weights(index) != training.base_hashes[index])
            refuse("the weights of '" + parameters_[index].name +
                   "', which are trained in a basis, are not the original ones: is this the right model, and unmerged?");
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

// ---- parameters in a basis ----

SparseMatrix Adapter::delta_matrix(const Training &training, std::size_t parameter) const {
    const Parameter &trained = parameters_[parameter];
    SparseMatrix delta;
    delta.mask = list_of(training.active.masks.slots[parameter]);
    delta.values = training.active.deltas.data(parameter);
    delta.type = delta_type(parameter);
    delta.rows = static_cast<std::uint64_t>(trained.shape[0]);
    delta.columns = static_cast<std::uint64_t>(trained.shape[1]);
    return delta;
}

void Adapter::fold(const Training &training, std::size_t parameter) {
    const Parameter &declared = declared_[parameter];
    Buffer<std::byte> originals(device(), declared.size * size_of(declared.type));
    device().copy_within(originals.data(), weights_[parameter], originals.count());
    const Buffer<float> delta = basis(parameter)->turn_back(device(), delta_matrix(training, parameter));
    speft_segment whole{};
    whole.count = declared.size;
    whole.weights = weights_[parameter];
    whole.originals = originals.data();
    whole.deltas = delta.data();
    whole.weights_type = static_cast<std::int32_t>(declared.type);
    whole.deltas_type = SPEFT_SCALAR_FLOAT32;
    std::uint64_t differing = 0;  // none: they have just been copied
    folded_[parameter].originals = std::move(originals);
    device().run(speft_merge_segments{&whole, 1, &differing});
    folded_[parameter].hash = hash_weights(parameter);
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
        device().copy_within(weights_[index], folded_[index].originals.data(), folded_[index].originals.count());
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
            if (basis(index)) claims_[index] = {};
    } else {
        std::vector<Claim> claims = claim_weights(Claimed::in_place);
        check_base(state);
        put_in_place(state);
        claims_ = std::move(claims);
    }
    residence_ = Residence::attached;
}

void Adapter::merge() {
    if (!any_basis_) {
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
            if (basis(index)) fold(state, index);
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
