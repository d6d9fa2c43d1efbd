#include "core/adapter/adapter.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/base/hash.h"
#include "core/base/random.h"
#include "core/base/scalar.h"
#include "core/base/status.h"
#include "core/selection/budget.h"

namespace speft {
namespace {

void check_parameters(const std::vector<Parameter> &parameters, const SelectionOptions &selection) {
    std::set<std::string> names;
    std::uint64_t total = 0;
    for (const Parameter &parameter : parameters) {
        if (!names.insert(parameter.name).second) refuse("two parameters have the name '" + parameter.name + "'");
        total += parameter.size;
    }
    if (total == 0) refuse("parameters: there is no scalar in any of them");
    const std::vector<Target> targets = find_targets(parameters);
    const bool any_sparse = total_size(targets) > 0;
    check_selection(selection, any_sparse);
    if (any_sparse && selection.method != SPEFT_SELECT_GIVEN_MASK) total_budget(selection, targets);
}

AdapterOptions options_of(const AdapterRecord &record) {
    AdapterOptions options;
    options.selection = {record.method, record.scope, record.random,       record.density,
                         record.budget, record.seed,  record.rank,         record.model_scalars};
    options.optimizer = {record.optimizer, record.age, record.state};
    options.delta_type = static_cast<ScalarType>(record.delta_type);
    return options;
}

std::vector<Parameter> parameters_of(const AdapterRecord &record) {
    std::vector<Parameter> parameters;
    for (const ParameterRecord &stored : record.parameters) {
        Parameter parameter;
        parameter.name = stored.name;
        parameter.shape = stored.shape;
        for (const std::int64_t extent : stored.shape) parameter.size *= static_cast<std::uint64_t>(extent);
        parameter.type = static_cast<ScalarType>(stored.scalar_type);
        parameter.role = static_cast<Role>(stored.role);
        parameter.group = stored.group;
        parameters.push_back(std::move(parameter));
    }
    return parameters;
}

}  // namespace

void check_adapter(const AdapterOptions &options, const std::vector<Parameter> &parameters) {
    check_parameters(parameters, options.selection);
    check_optimizer(options.optimizer);
}

// ---- declared ----

Adapter::Adapter(std::shared_ptr<Context> context, const AdapterOptions &options, std::vector<Parameter> parameters)
    : context_(std::move(context)), options_(options), parameters_(std::move(parameters)),
      weights_(parameters_.size()), bound_(parameters_.size()), claims_(parameters_.size()),
      given_masks_(parameters_.size()), given_scores_(parameters_.size()) {
    check_adapter(options_, parameters_);
    observation_.emplace(parameters_.size(), needs_gradients(options_.selection.method));
}

Adapter::Adapter(std::shared_ptr<Context> context, const AdapterRecord &record)
    : context_(std::move(context)), options_(options_of(record)), parameters_(parameters_of(record)),
      weights_(parameters_.size()), bound_(parameters_.size()), claims_(parameters_.size()), steps_(record.steps) {
    check_optimizer(options_.optimizer);
    std::vector<std::uint64_t> counts;
    std::uint64_t total = 0;
    for (const ParameterRecord &stored : record.parameters) {
        counts.push_back(stored.indices.size());
        total += stored.indices.size();
    }
    Buffer<std::uint32_t> indices(device(), total);
    std::uint64_t offset = 0;
    for (const ParameterRecord &stored : record.parameters) {
        device().copy_to_device(indices.data() + offset, stored.indices.data(),
                                stored.indices.size() * sizeof(std::uint32_t));
        offset += stored.indices.size();
    }
    std::unique_ptr<Training> loaded = make_training(make_masks(parameters_, std::move(indices), counts));
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        put_deltas(*loaded, index, record.parameters[index].deltas);
        loaded->base_hashes.push_back(record.parameters[index].base_hash);
    }
    if (record.training) restore(*loaded, *record.training);
    training_ = std::move(loaded);
}

Adapter::Training &Adapter::training() const {
    if (!training_) refuse_state("nothing is selected yet: call speft_select first");
    return *training_;
}

const Masks &Adapter::masks() const { return training().masks; }

void Adapter::require_unselected(const char *call) const {
    if (training_) refuse_state(std::string(call) + " comes before the selection, and the masks are chosen already");
}

void Adapter::bind(std::size_t parameter, const TensorView *weights) {
    const Parameter &declared = parameters_[parameter];
    if (!weights) {
        weights_[parameter] = nullptr;
        bound_[parameter] = false;
        claims_[parameter] = {};
        return;
    }
    const std::string what = "weights of '" + declared.name + "'";
    if (weights->shape != declared.shape)
        refuse(what + " must have shape " + describe(declared.shape) + "; got " + describe(weights->shape));
    if (!same_dtype(weights->dtype, dtype_of(declared.type)))
        refuse(what + " must be " + describe(dtype_of(declared.type)) + "; got " + describe(weights->dtype));
    if (!device().holds(weights->device))
        refuse(what + " must be on " + describe(device().location()) + "; got " + describe(weights->device));
    if (merged_)
        claims_[parameter] = Claim(weights->data, declared.size * size_of(declared.type), declared.name,
                                   &claims_[parameter]);
    weights_[parameter] = weights->data;
    bound_[parameter] = true;
}

void Adapter::require_bound() const {
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (!bound_[index])
            refuse_state("the weights of '" + parameters_[index].name + "' are not bound: call speft_bind_weights");
}

// ---- observing and selecting ----

void Adapter::begin_observation(double weight) {
    require_unselected("an observation");
    observation_->begin(weight);
}

void Adapter::observe(std::size_t parameter, const Gradient &gradient) {
    require_unselected("an observation");
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse("gradient of '" + parameters_[parameter].name +
               "': before the selection there is no mask that values could belong to");
    check_gradient(gradient, parameters_[parameter], device(), 0);
    observation_->add(device(), parameters_[parameter], parameter, gradient);
}

void Adapter::finish_observation(double weight) {
    require_unselected("an observation");
    observation_->finish(device(), parameters_, weight);
    ++observations_;
}

void Adapter::clear_observations() {
    require_unselected("an observation");
    observation_.emplace(parameters_.size(), needs_gradients(options_.selection.method));
    observations_ = 0;
}

void Adapter::set_mask(std::size_t parameter, std::span<const std::int64_t> indices) {
    require_unselected("a mask");
    const Parameter &declared = parameters_[parameter];
    if (options_.selection.method != SPEFT_SELECT_GIVEN_MASK)
        refuse_state("masks are given only where the selection method is given masks");
    if (declared.role != Role::sparse) refuse("'" + declared.name + "' is a dense parameter: it has no mask");
    std::vector<std::uint32_t> mask;
    mask.reserve(indices.size());
    std::int64_t previous = -1;
    for (const std::int64_t index : indices) {
        if (index <= previous)
            refuse("mask of '" + declared.name + "': indices must be 0 or more and strictly increase; got " +
                   std::to_string(index) + (mask.empty() ? "" : " after " + std::to_string(previous)));
        if (static_cast<std::uint64_t>(index) >= declared.size)
            refuse("mask of '" + declared.name + "': indices must be below " + std::to_string(declared.size) +
                   "; got " + std::to_string(index));
        mask.push_back(static_cast<std::uint32_t>(index));
        previous = index;
    }
    given_masks_[parameter] = std::move(mask);
}

void Adapter::set_scores(std::size_t parameter, const TensorView &scores) {
    require_unselected("a score");
    const Parameter &declared = parameters_[parameter];
    const std::string what = "scores of '" + declared.name + "'";
    if (options_.selection.method != SPEFT_SELECT_GIVEN_SCORES)
        refuse_state("scores are given only where the selection method is given scores");
    if (declared.role != Role::sparse) refuse("'" + declared.name + "' is a dense parameter: it has no scores");
    if (scores.shape != declared.shape)
        refuse(what + " must have shape " + describe(declared.shape) + "; got " + describe(scores.shape));
    if (!same_dtype(scores.dtype, dtype_of(ScalarType::float32)))
        refuse(what + " must be float32; got " + describe(scores.dtype));
    if (!device().holds(scores.device))
        refuse(what + " must be on " + describe(device().location()) + "; got " + describe(scores.device));
    Buffer<float> copy(device(), declared.size);
    device().copy_within(copy.data(), scores.data, declared.size * sizeof(float));
    given_scores_[parameter] = std::move(copy);
}

void Adapter::select(const speft_progress *progress) {
    require_unselected("speft_select");
    if (observation_->open()) refuse_state("an observation is open: finish it before the selection");
    require_bound();
    std::vector<Claim> claims = claim_weights();
    Masks chosen = choose_masks(
        device(), options_.selection, {parameters_, weights_, *observation_, given_masks_, given_scores_}, progress);
    std::unique_ptr<Training> made = make_training(std::move(chosen));
    device().zero(made->deltas.data(), made->deltas.bytes());
    capture_originals(*made);
    made->originals_known = true;
    start_dense(*made);

    training_ = std::move(made);
    claims_ = std::move(claims);
    merged_ = true;
    observation_.reset();
    given_masks_.clear();
    given_scores_.clear();
    device().release_scratch();
}

std::unique_ptr<Adapter::Training> Adapter::make_training(Masks masks) const {
    auto made = std::make_unique<Training>();
    made->masks = std::move(masks);
    made->originals = make_originals(made->masks);
    std::vector<ScalarType> delta_types;
    for (std::size_t index = 0; index < parameters_.size(); ++index) delta_types.push_back(delta_type(index));
    made->deltas = PackedArrays(device(), made->masks, std::move(delta_types));
    made->gradients = Gradients(parameters_.size());
    made->optimizer = make_optimizer(options_.optimizer, parameters_);
    return made;
}

std::vector<Claim> Adapter::claim_weights() const {
    std::vector<Claim> claims;
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        claims.emplace_back(weights_[index], parameters_[index].size * size_of(parameters_[index].type),
                            parameters_[index].name);
    return claims;
}

speft_segment Adapter::segment_of(const Training &training, std::size_t parameter) const {
    const Masks::Slot &slot = training.masks.slots[parameter];
    speft_segment segment{};
    segment.indices = slot.indices;
    segment.count = static_cast<std::uint64_t>(slot.count);
    segment.weights = weights_[parameter];
    segment.originals = training.originals.data(parameter);
    segment.deltas = training.deltas.data(parameter);
    segment.weights_type = static_cast<std::int32_t>(parameters_[parameter].type);
    segment.deltas_type = static_cast<std::int32_t>(delta_type(parameter));
    segment.absolute = parameters_[parameter].role == Role::dense;
    return segment;
}

// One a parameter; those without a trained scalar have count 0.
std::vector<speft_segment> Adapter::segments_of(const Training &training) const {
    std::vector<speft_segment> segments;
    for (std::size_t index = 0; index < parameters_.size(); ++index) segments.push_back(segment_of(training, index));
    return segments;
}

PackedArrays Adapter::make_originals(const Masks &masks) const {
    std::vector<ScalarType> types;
    for (const Parameter &parameter : parameters_) types.push_back(parameter.type);
    return PackedArrays(device(), masks, std::move(types));
}

void Adapter::capture_originals(Training &training) const {
    const std::vector<speft_segment> segments = segments_of(training);
    device().run(speft_capture{segments.data(), segments.size()});
}

// Dense parameters start at their own values. A −0 becomes +0 on the way, hence the merge: the weights are what the
// adapter says they are.
void Adapter::start_dense(Training &training) const {
    std::vector<speft_segment> dense;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (parameters_[index].role != Role::dense || parameters_[index].size == 0) continue;
        const speft_segment segment = segment_of(training, index);
        speft_add_values values{};
        values.sums = static_cast<float *>(segment.deltas);
        values.source = segment.weights;
        values.count = segment.count;
        values.source_type = segment.weights_type;
        values.scale = 1;
        values.weight = 1;
        device().run(values);
        dense.push_back(segment);
    }
    std::vector<std::uint64_t> differing(dense.size());  // none: their originals have just been captured
    device().run(speft_merge_segments{dense.data(), dense.size(), differing.data()});
}

// ---- training ----

void Adapter::accumulate(std::size_t parameter, const Gradient &gradient) {
    Training &state = training();
    const Parameter &declared = parameters_[parameter];
    if (declared.role == Role::dense && gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse("gradient of '" + declared.name + "': a dense parameter has no mask that values could belong to");
    check_gradient(gradient, declared, device(), static_cast<std::uint64_t>(state.masks.slots[parameter].count));
    state.gradients.add(device(), state.masks, parameter, gradient);
}

float *Adapter::lend_gradient(std::size_t parameter) {
    Training &state = training();
    return state.gradients.lend(device(), state.masks, parameter);
}

void Adapter::clear_gradient(std::size_t parameter) { training().gradients.clear(parameter); }

double Adapter::clip_gradient(double max_norm) {
    Training &state = training();
    if (!(max_norm > 0)) refuse("max_norm must be above 0; got " + std::to_string(max_norm));
    const double norm = state.gradients.norm(device(), state.masks);
    if (std::isinf(max_norm)) return norm;
    if (!std::isfinite(norm)) refuse("the norm of the gradients is " + std::to_string(norm) + ": nothing was clipped");
    if (norm > max_norm)
        state.gradients.scale(device(), state.masks, static_cast<float>(max_norm / (norm + 1e-6)));
    return norm;
}

// From what a resumed adapter knows too, so that it draws the same bits.
std::uint32_t Adapter::rounding_key(std::size_t parameter) const {
    const std::uint64_t key = make_key(options_.selection.seed, parameters_[parameter].name);
    return static_cast<std::uint32_t>(draw64(key, static_cast<std::uint64_t>(steps_)) >> 32);
}

void Adapter::step(const StepOptions &options) {
    Training &state = training();
    if (!merged_) refuse_state("the adapter is unmerged: call speft_merge before a step");
    require_bound();
    static const Hyperparameters defaults;
    std::vector<Update> updates;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const Parameter &parameter = parameters_[index];
        const auto group = static_cast<std::size_t>(parameter.group);
        if (!options.groups.empty() && group >= options.groups.size())
            refuse("step options: '" + parameter.name + "' is in group " + std::to_string(group) + ", and there are " +
                   std::to_string(options.groups.size()) + " groups");
        if (state.masks.slots[index].count == 0) continue;
        if (!state.gradients.present(index)) {
            if (!state.gradients.ever(index) && !options.allow_missing)
                refuse_state("no gradient of '" + parameter.name + "' has arrived since the selection");
            continue;
        }
        updates.push_back({index, segment_of(state, index), state.gradients.values(state.masks, index),
                           options.groups.empty() ? &defaults : &options.groups[group]});
        updates.back().segment.rounding_key = rounding_key(index);
    }
    if (updates.empty()) refuse_state("no gradient has arrived since the last step");
    state.optimizer->step(device(), state.masks, updates, options.gradient_scale);
    ++steps_;
    if (!options.keep_gradient)
        for (const Update &update : updates) state.gradients.clear(update.parameter);
}

// ---- merging ----

std::vector<std::byte> Adapter::copy_originals(const Training &training) const {
    std::vector<std::byte> bytes(training.originals.bytes());
    device().copy_to_host(bytes.data(), training.originals.data(), bytes.size());
    return bytes;
}

std::uint64_t Adapter::hash_originals(const Training &training, const std::vector<std::byte> &originals,
                                      std::size_t parameter) const {
    return hash_bytes(originals.data() + training.originals.offset(parameter), training.originals.bytes(parameter));
}

// The bits at the masks of a loaded adapter, whose base is known by hash alone so far.
void Adapter::learn_originals(Training &training) const {
    capture_originals(training);
    const std::vector<std::byte> originals = copy_originals(training);
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (parameters_[index].role == Role::dense) continue;  // it brings its values, whatever was there
        if (hash_originals(training, originals, index) != training.base_hashes[index])
            refuse("the base weights of '" + parameters_[index].name +
                   "' are not those the adapter was trained on: is this the right model?");
    }
    training.originals_known = true;
    training.base_hashes.clear();
}

// Weights that hold the merged bits already are taken as they are: a host may have restored its own copy of the model
// after loading a checkpoint.
void Adapter::merge() {
    Training &state = training();
    if (merged_) return;
    require_bound();
    std::vector<Claim> claims = claim_weights();
    if (!state.originals_known) learn_originals(state);
    const std::vector<speft_segment> segments = segments_of(state);
    std::vector<std::uint64_t> differing(segments.size());
    const speft_merge_segments merging{segments.data(), segments.size(), differing.data()};
    device().run(merging);

    std::vector<speft_segment> replaced;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (differing[index] == 0) continue;
        if (parameters_[index].role == Role::sparse)
            refuse("the base weights of '" + parameters_[index].name +
                   "' are not those that unmerging restored: weights changed behind the adapter");
        replaced.push_back(segments[index]);
    }
    if (!replaced.empty()) {  // dense parameters: what the host has put there is what unmerging will bring back
        device().run(speft_capture{replaced.data(), replaced.size()});
        device().run(merging);
    }
    claims_ = std::move(claims);
    merged_ = true;
}

void Adapter::unmerge() {
    Training &state = training();
    if (!merged_) return;
    require_bound();
    const std::vector<speft_segment> segments = segments_of(state);
    std::vector<std::uint64_t> differing(segments.size());
    device().run(speft_unmerge_segments{segments.data(), segments.size(), differing.data()});
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (differing[index] > 0)
            refuse_state("weights changed behind the adapter: " + std::to_string(differing[index]) + " of " +
                         std::to_string(segments[index].count) + " trained weights of '" + parameters_[index].name +
                         "' are not what it wrote; nothing was restored");
    for (Claim &claim : claims_) claim = {};
    merged_ = false;
}

// ---- what is in it ----

void Adapter::copy_mask(std::size_t parameter, std::int64_t *indices) const {
    const Masks::Slot &slot = masks().slots[parameter];
    if (!slot.indices) {
        for (std::int64_t index = 0; index < slot.count; ++index) indices[index] = index;
        return;
    }
    std::vector<std::uint32_t> narrow(static_cast<std::size_t>(slot.count));
    device().copy_to_host(narrow.data(), slot.indices, narrow.size() * sizeof(std::uint32_t));
    for (std::size_t at = 0; at < narrow.size(); ++at) indices[at] = narrow[at];
}

void *Adapter::deltas(std::size_t parameter) const { return training().deltas.data(parameter); }

double Adapter::rounding_loss(std::optional<std::size_t> parameter) const {
    const Training &state = training();
    if (parameter && parameters_[*parameter].role == Role::dense)
        refuse("'" + parameters_[*parameter].name + "' is a dense parameter: it is trained as values, not as deltas");
    if (!state.originals_known)
        refuse_state("the original weights are not known yet: call speft_merge on the loaded adapter first");
    std::vector<speft_segment> segments;
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (parameters_[index].role == Role::sparse && (!parameter || *parameter == index))
            segments.push_back(segment_of(state, index));
    std::vector<double> totals(segments.size()), losses(segments.size());
    device().run(speft_measure_rounding{segments.data(), segments.size(), totals.data(), losses.data()});
    const double total = std::accumulate(totals.begin(), totals.end(), 0.0);
    return total == 0 ? 0 : std::accumulate(losses.begin(), losses.end(), 0.0) / total;
}

// The host's side of deltas is float32, which holds every bfloat16 exactly.
void Adapter::put_deltas(Training &training, std::size_t parameter, const std::vector<float> &deltas) const {
    std::byte *const target = training.deltas.data(parameter);
    if (training.deltas.type(parameter) == ScalarType::float32) {
        device().copy_to_device(target, deltas.data(), deltas.size() * sizeof(float));
        return;
    }
    std::vector<BFloat16> narrow;
    for (const float delta : deltas) narrow.push_back(from_float<BFloat16>(delta));
    device().copy_to_device(target, narrow.data(), narrow.size() * sizeof(BFloat16));
}

std::vector<float> Adapter::take_deltas(const Training &training, std::size_t parameter) const {
    const std::byte *const source = training.deltas.data(parameter);
    std::vector<float> deltas(static_cast<std::size_t>(training.masks.slots[parameter].count));
    if (training.deltas.type(parameter) == ScalarType::float32) {
        device().copy_to_host(deltas.data(), source, deltas.size() * sizeof(float));
        return deltas;
    }
    std::vector<BFloat16> narrow(deltas.size());
    device().copy_to_host(narrow.data(), source, narrow.size() * sizeof(BFloat16));
    std::transform(narrow.begin(), narrow.end(), deltas.begin(), [](BFloat16 delta) { return to_float(delta); });
    return deltas;
}

AdapterRecord Adapter::record() const {
    const Training &state = training();
    AdapterRecord record;
    const SelectionOptions &selection = options_.selection;
    record.method = selection.method;
    record.scope = selection.scope;
    record.random = selection.random;
    record.density = selection.density;
    record.budget = selection.budget;
    record.rank = selection.rank;
    record.model_scalars = selection.model_scalars;
    record.seed = selection.seed;
    record.delta_type = static_cast<std::int32_t>(options_.delta_type);
    record.optimizer = options_.optimizer.kind;
    record.age = options_.optimizer.age;
    record.state = options_.optimizer.state;
    record.steps = steps_;
    const std::vector<std::byte> originals = state.originals_known ? copy_originals(state) : std::vector<std::byte>{};
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const Parameter &parameter = parameters_[index];
        const Masks::Slot &slot = state.masks.slots[index];
        ParameterRecord stored;
        stored.name = parameter.name;
        stored.shape = parameter.shape;
        stored.scalar_type = static_cast<std::int32_t>(parameter.type);
        stored.role = static_cast<std::int32_t>(parameter.role);
        stored.group = parameter.group;
        if (parameter.role == Role::sparse) {
            stored.base_hash =
                state.originals_known ? hash_originals(state, originals, index) : state.base_hashes[index];
            stored.indices.resize(static_cast<std::size_t>(slot.count));
            device().copy_to_host(stored.indices.data(), slot.indices, stored.indices.size() * sizeof(std::uint32_t));
        }
        stored.deltas = take_deltas(state, index);
        record.parameters.push_back(std::move(stored));
    }
    return record;
}

}  // namespace speft
