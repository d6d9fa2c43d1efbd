// An adapter in the ordinary basis from one in others: as much of its deltas as a sparse mask holds there.
#include "core/adapter/adapter.h"

#include "core/base/hash.h"
#include "core/base/status.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

namespace speft {

// One parameter; adds Σ ΔW² of the scalars that stay, and of all, to the sums.
ParameterRecord Adapter::record_ordinary(ParameterRecord stored, std::size_t parameter, double density,
                                         double &kept, double &all) const {
    const Parameter &declared = declared_[parameter];
    const Buffer<float> delta = basis(parameter)->turn_back(device(), delta_matrix(training().active, parameter));
    const auto squares = [&](const float *values, std::uint64_t count) {
        double sum = 0;
        device().run(speft_sum_squares{&values, &count, 1, &sum});
        return sum;
    };
    speft_score score = score_of(SPEFT_SCORE_ABS_GRADIENT, declared.size);
    score.sums = delta.data();
    const std::uint64_t k = count_at_density(density, declared.size);
    const Buffer<std::uint32_t> indices(device(), k);
    std::uint64_t count = 0, eligible = 0;
    device().run(speft_select_top{&score, 1, k, indices.data(), &count, &eligible, nullptr});
    if (eligible < k)
        refuse("only " + std::to_string(eligible) + " scalars of the delta of '" + declared.name + "' are not NaN; " +
               std::to_string(k) + " are to stay");
    const Buffer<float> values = Buffer<float>::zeros(device(), k);
    speft_add_values gather{};
    gather.sums = values.data();
    gather.source = delta.data();
    gather.indices = indices.data();
    gather.count = k;
    gather.source_type = SPEFT_SCALAR_FLOAT32;
    gather.scale = gather.weight = 1;
    device().run(gather);
    kept += squares(values.data(), k);
    all += squares(delta.data(), declared.size);

    const Buffer<std::byte> originals(device(), k * size_of(declared.type));
    speft_segment segment{};
    segment.indices = indices.data();
    segment.count = k;
    segment.weights = weights_[parameter].dense();
    segment.originals = originals.data();
    segment.weights_type = static_cast<std::int32_t>(declared.type);
    device().run(speft_capture{&segment, 1});
    std::vector<std::byte> bits(originals.count());
    device().copy_to_host(bits.data(), originals.data(), bits.size());

    stored.basis.reset();
    stored.base_hash = hash_bytes(bits.data(), bits.size());
    stored.indices.resize(k);
    stored.deltas.resize(k);
    device().copy_to_host(stored.indices.data(), indices.data(), k * sizeof(std::uint32_t));
    device().copy_to_host(stored.deltas.data(), values.data(), k * sizeof(float));
    return stored;
}

Adapter::Ordinary Adapter::leave_bases(double density) const {
    const Training &state = training();
    if (!any_basis_) refuse_state("no parameter is in a basis");
    if (!(density > 0 && density <= 1)) refuse("density must be in (0, 1]; got " + std::to_string(density));
    if (residence_ == Residence::merged)
        refuse_state("the adapter is merged, its deltas in a basis with it: call speft_attach or speft_unmerge first");
    if (!state.originals_known)
        refuse_state("whether the weights are those that the adapter was trained on is not known yet: call "
                     "speft_attach on the loaded adapter first");
    require_bound();
    Ordinary ordinary{record(), 1};
    double kept = 0, all = 0;
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (basis(index))
            ordinary.record.parameters[index] =
                record_ordinary(std::move(ordinary.record.parameters[index]), index, density, kept, all);
    ordinary.record.bases.clear();
    ordinary.record.selection = {};
    ordinary.record.selection.method = SPEFT_SELECT_GIVEN_MASK;
    ordinary.record.selection.seed = options_.selection.seed;
    if (all > 0) ordinary.share = kept / all;
    return ordinary;
}

}  // namespace speft
