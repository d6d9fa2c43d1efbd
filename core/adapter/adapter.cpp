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
#include "core/selection/method_name.h"

namespace speft {
namespace {

bool needs_rows(std::int32_t method) {
    return method == SPEFT_SELECT_LOW_RANK || method == SPEFT_SELECT_WANDA || method == SPEFT_SELECT_SPIEL_MA;
}

// That a tensor of the host's is as the parameter was declared, but of `type`. `what`: the word for it in messages.
void check_like(const TensorView &tensor, const Parameter &declared, ScalarType type, const Device &device,
                const char *what) {
    const std::string whose = what + (" of '" + declared.name) + "'";
    if (tensor.shape != declared.shape)
        refuse(whose + " must have shape " + describe(declared.shape) + "; got " + describe(tensor.shape));
    if (!same_dtype(tensor.dtype, dtype_of(type)))
        refuse(whose + " must be " + describe(dtype_of(type)) + "; got " + describe(tensor.dtype));
    if (!device.holds(tensor.device))
        refuse(whose + " must be on " + describe(device.location()) + "; got " + describe(tensor.device));
}

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
    for (const Target &target : targets)
        if (needs_rows(selection.method) && target.rows == 0 && target.size > 0)
            refuse("'" + target.name + "' has fewer than 2 axes, and " + get_method_name(selection.method) +
                   " needs rows and columns");
    if (any_sparse && selection.method != SPEFT_SELECT_GIVEN_MASK) total_budget(selection, targets);
    if (any_sparse && selection.method == SPEFT_SELECT_SPIEL_AG) candidate_budgets(selection, parameters);
}

}  // namespace

Parameter in_basis(Parameter declared, const BasisShape &basis) {
    if (declared.role != Role::sparse) refuse("'" + declared.name + "' is a dense parameter: it has no basis");
    const Shape shape = {static_cast<std::int64_t>(basis.rows), static_cast<std::int64_t>(basis.columns)};
    if (declared.shape != shape)
        refuse("the basis is one of matrices " + describe(shape) + ", and '" + declared.name + "' has shape " +
               describe(declared.shape));
    declared.shape = {static_cast<std::int64_t>(basis.row_directions),
                      static_cast<std::int64_t>(basis.column_directions)};
    declared.size = basis.row_directions * basis.column_directions;
    declared.type = ScalarType::float32;
    return declared;
}

void check_adapter(const AdapterOptions &options, const std::vector<Parameter> &parameters) {
    check_parameters(parameters, options.selection);
    check_optimizer(options.optimizer);
    check_pairing(options.selection, options.optimizer, options.delta_type);
}

AdapterOptions complete_options(AdapterOptions options) {
    SelectionOptions &selection = options.selection;
    selection.schedule = complete_schedule(selection.method, selection.schedule);
    options.optimizer.lazy = selects_by_step(selection);
    if (selection.method == SPEFT_SELECT_SPIEL_AG || selection.schedule.keep_moments || options.optimizer.lazy)
        options.optimizer.age = SPEFT_AGE_PER_WEIGHT;
    return options;
}

// ---- declared ----

Adapter::Adapter(std::shared_ptr<Context> context, const AdapterOptions &options, std::vector<Parameter> parameters)
    : context_(std::move(context)), options_(complete_options(options)), declared_(parameters),
      parameters_(std::move(parameters)), bases_(parameters_.size()), weights_(parameters_.size()),
      claims_(parameters_.size()), folded_(parameters_.size()),
      given_masks_(parameters_.size()), given_scores_(parameters_.size()), references_(parameters_.size()),
      clock_(options_.selection.method, options_.selection.schedule), moves_(clock_.moves()),
      by_step_(selects_by_step(options_.selection)) {
    check_adapter(options, parameters_);
    observation_ = make_observation();
}

Adapter::Training &Adapter::training() const {
    if (!training_) refuse_state("nothing is selected yet: call speft_select first");
    return *training_;
}

const Masks &Adapter::masks() const { return training().active.masks; }

void Adapter::require_unselected(const char *call) const {
    if (training_) refuse_state(std::string(call) + " comes before the selection, and the masks are chosen already");
}

// Dynamic masks are observed for again.
void Adapter::require_observing(const char *call) const {
    if (!observation_) require_unselected(call);
}

Observation Adapter::make_observation() const {
    return Observation(parameters_.size(), statistic_of(options_.selection));
}

bool Adapter::any_beside() const {
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (beside(index)) return true;
    return false;
}

void Adapter::bind(std::size_t parameter, const TensorView &weights) {
    const Parameter &declared = declared_[parameter];
    check_like(weights, declared, declared.type, device(), "weights");
    bind(parameter, BoundWeights(weights.data));
}

void Adapter::bind(std::size_t parameter, const QuantizedRecord &weights) {
    const Parameter &declared = declared_[parameter];
    if (declared.role == Role::dense)
        refuse("'" + declared.name + "' is a dense parameter: all of it is trained, and it cannot be quantized");
    if (basis(parameter))
        refuse_unsupported("'" + declared.name + "' is trained in a basis, which quantized weights cannot be");
    try {
        const QuantizedWeights quantized(device(), weights, declared.shape);
        quantized.check_scales(device());
        bind(parameter, BoundWeights(quantized));
    } catch (const Failure &failure) {
        throw Failure(failure.status(), "weights of '" + declared.name + "': " + failure.what());
    }
}

void Adapter::bind(std::size_t parameter, BoundWeights weights) {
    BoundWeights &bound = weights_[parameter];
    const bool quantized = weights.quantized();
    if (residence_ != Residence::unmerged && quantized != static_cast<bool>(bound.quantized()))
        refuse_state("'" + declared_[parameter].name + "' was bound to " + (quantized ? "dense" : "quantized") +
                     " weights when its deltas were put into effect: call speft_unmerge before it is bound to others");
    if (residence_ == Residence::merged || (attached() && !beside(parameter)))
        claims_[parameter] = Claim(weights.memory(), weights.bytes(declared_[parameter]), declared_[parameter].name,
                                   &claims_[parameter]);
    bound = std::move(weights);
}

void Adapter::unbind(std::size_t parameter) {
    weights_[parameter].unbind();
    claims_[parameter] = {};
}

void Adapter::bind_basis(std::size_t parameter, std::shared_ptr<BasisFactors> basis) {
    const Parameter &declared = declared_[parameter];
    require_unselected("a basis");
    if (observation_->batches() > 0 || observation_->open())
        refuse_state("a basis comes before the observations, and there are some already");
    Parameter trained = declared;
    if (basis) {
        if (options_.selection.method != SPEFT_SELECT_SPARSEGRAD)
            refuse_state("a basis is bound only where the selection method is sparsegrad");
        if (weights_[parameter].quantized())
            refuse_unsupported("'" + declared.name + "' has quantized weights, which cannot be trained in a basis");
        trained = in_basis(declared, basis->shape());
        basis->prepare(device());
    }
    parameters_[parameter] = std::move(trained);
    bases_[parameter] = std::move(basis);
    any_basis_ = std::any_of(bases_.begin(), bases_.end(), [](const auto &bound) { return bound != nullptr; });
}

void Adapter::require_bound() const {
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (!weights_[index].present())
            refuse_state("the weights of '" + parameters_[index].name + "' are not bound: call speft_bind_weights");
}

// ---- observing and selecting ----

void Adapter::begin_observation(double weight) {
    require_observing("an observation");
    observation_->begin(weight);
}

void Adapter::observe(std::size_t parameter, const Gradient &gradient) {
    require_observing("an observation");
    const Parameter &declared = parameters_[parameter];
    const std::string what = "gradient of '" + declared.name + "': ";
    const Statistic statistic = statistic_of(options_.selection);
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse(what + "before a selection there is no mask that values could belong to");
    check_gradient(gradient, declared_[parameter], device(), 0);
    if (statistic != Statistic::column_squares) require_gradient(gradient, declared);
    if (statistic == Statistic::column_squares && gradient.kind != SPEFT_GRADIENT_ACTIVATIONS &&
        declared.role == Role::sparse)
        refuse(what + "wanda ranks by the inputs of a layer: kind must be SPEFT_GRADIENT_ACTIVATIONS; got " +
               std::to_string(gradient.kind));
    if (statistic != Statistic::mean_of_squares && !gradient.examples.empty())
        refuse(what + "example_offsets are for fisher, which squares the gradient of each example");
    if (!basis(parameter) || statistic == Statistic::none) {
        observation_->add(device(), declared, parameter, gradient);
        return;
    }
    const BasisFactors::Rotated rotated = basis(parameter)->rotate(device(), gradient);
    observation_->add(device(), declared, parameter, rotated.gradient);
}

void Adapter::finish_observation(double weight) {
    require_observing("an observation");
    observation_->finish(device(), parameters_, weight);
    ++observations_;
}

void Adapter::clear_observations() {
    require_observing("an observation");
    observation_ = make_observation();
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
    if (options_.selection.method != SPEFT_SELECT_GIVEN_SCORES)
        refuse_state("scores are given only where the selection method is given scores");
    if (declared.role != Role::sparse) refuse("'" + declared.name + "' is a dense parameter: it has no scores");
    check_like(scores, declared, ScalarType::float32, device(), "scores");
    Buffer<float> copy(device(), declared.size);
    device().copy_within(copy.data(), scores.data, declared.size * sizeof(float));
    given_scores_[parameter] = std::move(copy);
}

void Adapter::set_reference(std::size_t parameter, const TensorView &original) {
    require_unselected("a reference");
    const Parameter &declared = parameters_[parameter];
    if (options_.selection.method != SPEFT_SELECT_WEIGHT_CHANGE)
        refuse_state("references are given only where the selection method is weight-change");
    if (declared.role != Role::sparse) refuse("'" + declared.name + "' is a dense parameter: it has no reference");
    check_like(original, declared, declared.type, device(), "reference");
    Buffer<std::byte> copy(device(), declared.size * size_of(declared.type));
    device().copy_within(copy.data(), original.data, copy.count());
    references_[parameter] = std::move(copy);
}

void Adapter::select(const speft_progress *progress) {
    require_unselected("speft_select");
    if (observation_->open()) refuse_state("an observation is open: finish it before the selection");
    require_bound();
    for (const Target &target : find_targets(parameters_))
        if (options_.selection.method == SPEFT_SELECT_SPARSEGRAD && target.size > 0 && !basis(target.position))
            refuse_state("'" + target.name + "' has no basis: call speft_bind_basis");
    if (any_basis_) check_parameters(parameters_, options_.selection);  // with fewer directions there are fewer scalars
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (references_[index] && weights_[index].quantized())
            refuse_state("'" + parameters_[index].name +
                         "' has quantized weights, which cannot have been trained: weight-change needs dense ones");
    std::vector<Claim> claims = claim_weights(Claimed::in_place);
    Masks chosen = choose_masks(device(), options_.selection, selection_input(), progress);
    std::unique_ptr<Training> made = make_training(std::move(chosen));
    device().zero(made->active.deltas.data(), made->active.deltas.bytes());
    if (options_.selection.schedule.drop == SPEFT_DROP_CHANGE)
        made->last_deltas = Buffer<float>::zeros(device(), made->active.masks.trained);
    capture_originals(made->active);
    made->originals_known = true;
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (basis(index)) made->base_hashes[index] = hash_weights(index);
    start_dense(*made);
    rewind();

    std::optional<Observation> again;  // dynamic masks are observed for again
    if (moves_) again = make_observation();

    training_ = std::move(made);
    claims_ = std::move(claims);
    residence_ = Residence::attached;
    observation_ = std::move(again);
    for (auto &mask : given_masks_) mask.reset();
    for (Buffer<float> &scores : given_scores_) scores = {};
    for (Buffer<std::byte> &reference : references_) reference = {};
    device().release_scratch();
}

// The weights of LT-SFT have been trained in full to find the masks, and start again from θ0.
void Adapter::rewind() {
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (const Buffer<std::byte> &reference = references_[index])
            device().copy_within(weights_[index].dense(), reference.data(), reference.count());
}

ChangedWeights Adapter::make_weights(Masks masks) const {
    std::vector<std::optional<ScalarType>> types, delta_types;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        // In a basis a delta belongs to no weight alone.
        types.push_back(basis(index) ? std::nullopt : std::optional(parameters_[index].type));
        delta_types.push_back(delta_type(index));
    }
    PackedArrays originals(device(), masks, std::move(types)), deltas(device(), masks, std::move(delta_types));
    return {std::move(masks), std::move(originals), std::move(deltas)};
}

std::unique_ptr<Adapter::Training> Adapter::make_training(Masks masks) const {
    auto made = std::make_unique<Training>();
    made->active = make_weights(std::move(masks));
    const std::vector<std::uint64_t> none(parameters_.size());
    made->settled =
        make_weights(make_masks(parameters_, Buffer<std::uint32_t>(device(), 0), none, DenseParameters::none));
    made->gradients = Gradients(parameters_.size());
    made->optimizer = make_optimizer(options_.optimizer, parameters_);
    if (moves_ && options_.selection.method == SPEFT_SELECT_SPIEL_AG) made->candidates.emplace(parameters_.size());
    if (by_step_) made->held.emplace(parameters_.size());
    made->base_hashes.resize(parameters_.size());
    made->arrived.resize(parameters_.size());
    for (std::vector<OwnedList> &lists : made->moved) lists.resize(parameters_.size());
    return made;
}

std::vector<Claim> Adapter::claim_weights(Claimed which) const {
    std::vector<Claim> claims(parameters_.size());
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (which == Claimed::all || !beside(index))
            claims[index] = Claim(weights_[index].memory(), weights_[index].bytes(declared_[index]),
                                  declared_[index].name, &claims_[index]);
    return claims;
}

speft_segment Adapter::segment_of(const ChangedWeights &changed, std::size_t parameter, void *weights) const {
    speft_segment segment{};
    const Masks::Slot &slot = changed.masks.slots[parameter];
    segment.indices = slot.indices;
    segment.count = static_cast<std::uint64_t>(slot.count);
    segment.weights = weights;
    segment.originals = changed.originals.data(parameter);
    segment.deltas = changed.deltas.data(parameter);
    segment.weights_type = static_cast<std::int32_t>(parameters_[parameter].type);
    segment.deltas_type = static_cast<std::int32_t>(delta_type(parameter));
    segment.absolute = parameters_[parameter].role == Role::dense;
    return segment;
}

speft_segment Adapter::segment_of(const ChangedWeights &changed, std::size_t parameter) const {
    return beside(parameter) ? speft_segment{} : segment_of(changed, parameter, weights_[parameter].dense());
}

// Deltas beside the weights are a dense parameter of their own, which is all there is: the weights are the deltas.
speft_segment Adapter::step_segment_of(const ChangedWeights &changed, std::size_t parameter) const {
    if (!beside(parameter)) return segment_of(changed, parameter);
    speft_segment segment = segment_of(changed, parameter, changed.deltas.data(parameter));
    segment.originals = segment.deltas;
    segment.weights_type = segment.deltas_type;
    segment.compact = segment.absolute = 1;
    return segment;
}

// round(θ0+δ) of the trained scalars alone, where decay pulls that and not δ to 0.
Buffer<std::byte> Adapter::stand_in_weights(const ChangedWeights &changed, std::size_t parameter) const {
    Buffer<std::byte> weights(device(), changed.originals.bytes(parameter));
    device().copy_within(weights.data(), changed.originals.data(parameter), weights.count());
    speft_segment segment = segment_of(changed, parameter, weights.data());
    segment.compact = 1;
    std::uint64_t differing = 0;
    device().run(speft_merge_segments{&segment, 1, &differing});
    return weights;
}

// One a parameter; those without a changed scalar in the host's weights have count 0.
std::vector<speft_segment> Adapter::segments_of(const ChangedWeights &weights) const {
    std::vector<speft_segment> segments;
    for (std::size_t index = 0; index < parameters_.size(); ++index) segments.push_back(segment_of(weights, index));
    return segments;
}

std::vector<speft_segment> Adapter::all_segments(const Training &training) const {
    std::vector<speft_segment> segments = segments_of(training.active);
    const std::vector<speft_segment> settled = segments_of(training.settled);
    segments.insert(segments.end(), settled.begin(), settled.end());
    return segments;
}

void Adapter::capture_originals(const ChangedWeights &changed) const {
    std::vector<speft_segment> segments = segments_of(changed);
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (references_[index]) segments[index].weights = references_[index].data();
    device().run(speft_capture{segments.data(), segments.size()});
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (!weights_[index].quantized() || changed.masks.slots[index].count == 0) continue;
        Buffer<std::byte> room;  // one at a time
        const speft_segment segment =
            segment_of(changed, index, weights_[index].values(device(), declared_[index], room));
        device().run(speft_capture{&segment, 1});
    }
}

const void *Adapter::current_weights(std::size_t parameter, Buffer<std::byte> &room) const {
    const BoundWeights &bound = weights_[parameter];
    void *const values = bound.values(device(), declared_[parameter], room);
    if (!bound.quantized() || !training_) return values;
    for (const ChangedWeights *changed : {&training_->active, &training_->settled}) {
        const speft_segment segment = segment_of(*changed, parameter, values);
        std::uint64_t differing = 0;
        device().run(speft_merge_segments{&segment, 1, &differing});
    }
    return values;
}

SelectionInput Adapter::selection_input(std::uint64_t round) const {
    return {parameters_,
            [this](std::size_t parameter, Buffer<std::byte> &room) { return current_weights(parameter, room); },
            *observation_,
            given_masks_,
            given_scores_,
            references_,
            round};
}

// Dense parameters start at their own values. A −0 becomes +0 on the way, hence the merge: the weights are what the
// adapter says they are.
void Adapter::start_dense(Training &training) const {
    std::vector<speft_segment> dense;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (parameters_[index].role != Role::dense || parameters_[index].size == 0) continue;
        const speft_segment segment = segment_of(training.active, index);
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
    const Parameter &declared = declared_[parameter];
    if (declared.role == Role::dense && gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse("gradient of '" + declared.name + "': a dense parameter has no mask that values could belong to");
    const Masks &masks = state.active.masks;
    check_gradient(gradient, declared, device(), static_cast<std::uint64_t>(masks.slots[parameter].count));
    require_gradient(gradient, declared);
    if (!gradient.examples.empty())
        refuse("gradient of '" + declared.name +
               "': example_offsets are for observing fisher scores; a step uses the sum");
    if (basis(parameter) && gradient.kind != SPEFT_GRADIENT_VALUES) {
        const BasisFactors::Rotated rotated = basis(parameter)->rotate(device(), gradient);
        accumulate_trained(state, parameter, rotated.gradient);
    } else {
        accumulate_trained(state, parameter, gradient);
    }
}

// A gradient of the parameter as it is trained.
void Adapter::accumulate_trained(Training &state, std::size_t parameter, const Gradient &gradient) {
    const Parameter &trained = parameters_[parameter];
    const Masks &masks = state.active.masks;
    if (by_step_ && trained.role == Role::sparse) {
        hold(state, parameter, gradient);
        return;
    }
    if (!in_window() || trained.role == Role::dense) {
        state.gradients.add(device(), masks, parameter, gradient);
        return;
    }
    follow_host(state, parameter, parameter + 1);
    Candidates::Contribution contribution = state.candidates->prepare(device(), trained, parameter, gradient);
    Gradients::Sum sum = state.gradients.sum(device(), masks, parameter, gradient);
    state.gradients.keep(device(), masks, parameter, sum);
    state.candidates->keep(parameter, std::move(contribution));
    state.arrived[parameter] = sum.squares;
}

float *Adapter::lend_gradient(std::size_t parameter) {
    Training &state = training();
    require_selected_step("speft_get_gradient");
    return state.gradients.lend(device(), state.active.masks, parameter);
}

void Adapter::clear_gradient(std::size_t parameter) {
    Training &state = training();
    state.gradients.clear(parameter);
    if (state.candidates) state.candidates->clear(parameter);
    if (state.held) state.held->clear(parameter);
}

double Adapter::clip_gradient(double max_norm) {
    Training &state = training();
    require_selected_step("speft_clip_gradient");
    if (!(max_norm > 0)) refuse("max_norm must be above 0; got " + std::to_string(max_norm));
    const double norm = state.gradients.norm(device(), state.active.masks);
    if (std::isinf(max_norm)) return norm;
    if (!std::isfinite(norm)) refuse("the norm of the gradients is " + std::to_string(norm) + ": nothing was clipped");
    if (norm > max_norm)
        state.gradients.scale(device(), state.active.masks, static_cast<float>(max_norm / (norm + 1e-6)));
    return norm;
}

void Adapter::require_attached(const char *what) const {
    if (attached()) return;
    if (residence_ == Residence::merged)
        refuse_state(std::string("the adapter is merged, with the deltas that are trained beside their weights: call "
                                 "speft_attach before ") +
                     what);
    refuse_state(std::string("the adapter is unmerged: call ") + (any_beside() ? "speft_attach" : "speft_merge") +
                 " before " + what);
}

void Adapter::require_selected_step(const char *call) const {
    if (held_gradient())
        refuse_state(std::string("the step's gradient has arrived, and its scalars are not selected yet: call "
                                 "speft_reselect before ") + call);
}

// From what a resumed adapter knows too, so that it draws the same bits.
std::uint32_t Adapter::rounding_key(std::size_t parameter) const {
    const std::uint64_t key = make_key(options_.selection.seed, parameters_[parameter].name);
    return static_cast<std::uint32_t>(draw64(key, static_cast<std::uint64_t>(steps_)) >> 32);
}

void Adapter::step(const StepOptions &options) {
    Training &state = training();
    require_attached("a step");
    require_selected_step("speft_step");
    if (reselection_due())
        refuse_state("a reselection is due after step " + std::to_string(steps_) + ": call speft_reselect first");
    require_bound();
    const Masks &masks = state.active.masks;
    static const Hyperparameters defaults;
    std::vector<Update> updates;
    std::vector<std::size_t> arrived;
    std::vector<Buffer<std::byte>> stand_ins;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const Parameter &parameter = parameters_[index];
        const auto group = static_cast<std::size_t>(parameter.group);
        if (!options.groups.empty() && group >= options.groups.size())
            refuse("step options: '" + parameter.name + "' is in group " + std::to_string(group) + ", and there are " +
                   std::to_string(options.groups.size()) + " groups");
        // Where each step selects, a parameter's first gradient makes its mask.
        const bool awaited = by_step_ && parameter.role == Role::sparse && parameter.size > 0;
        if (masks.slots[index].count == 0 && !awaited) continue;
        if (!state.gradients.present(index)) {
            if (!state.gradients.ever(index) && !options.allow_missing)
                refuse_state("no gradient of '" + parameter.name + "' has arrived since the selection");
            continue;
        }
        arrived.push_back(index);
        if (masks.slots[index].count == 0) continue;
        updates.push_back({index, step_segment_of(state.active, index), state.gradients.values(masks, index),
                           options.groups.empty() ? &defaults : &options.groups[group]});
        Update &update = updates.back();
        if (weights_[index].quantized() && update.hyperparameters->decay == SPEFT_DECAY_TO_ZERO &&
            update.hyperparameters->weight_decay != 0) {
            stand_ins.push_back(stand_in_weights(state.active, index));
            update.segment = segment_of(state.active, index, stand_ins.back().data());
            update.segment.compact = 1;
        }
        update.segment.rounding_key = rounding_key(index);
    }
    if (arrived.empty()) refuse_state("no gradient has arrived since the last step");
    std::optional<Candidates::Step> candidates;
    if (in_window()) {
        follow_host(state, 0, parameters_.size());
        candidates = state.candidates->take_step(device(), options_.selection, parameters_, masks,
                                                 options.gradient_scale);
    }
    state.optimizer->step(device(), masks, updates, options.gradient_scale);
    if (candidates) state.candidates->keep(std::move(*candidates));
    ++steps_;
    if (!options.keep_gradient)
        for (const std::size_t index : arrived) clear_gradient(index);
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

void Adapter::copy_ages(std::size_t parameter, std::int64_t *ages) const {
    const Training &state = training();
    state.optimizer->copy_ages(device(), state.active.masks, parameter, ages);
}

void *Adapter::deltas(std::size_t parameter) const { return training().active.deltas.data(parameter); }

double Adapter::rounding_loss(std::optional<std::size_t> parameter) const {
    const Training &state = training();
    if (parameter && parameters_[*parameter].role == Role::dense)
        refuse("'" + parameters_[*parameter].name + "' is a dense parameter: it is trained as values, not as deltas");
    if (parameter && beside(*parameter))
        refuse("'" + parameters_[*parameter].name +
               "' is trained beside its weights, in a basis or quantized: its deltas are not rounded to them");
    if (!state.originals_known)
        refuse_state("the original weights are not known yet: call speft_merge on the loaded adapter first");
    std::vector<speft_segment> segments;
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (parameters_[index].role == Role::sparse && (!parameter || *parameter == index))
            for (const ChangedWeights *weights : {&state.active, &state.settled})
                segments.push_back(segment_of(*weights, index));
    std::vector<double> totals(segments.size()), losses(segments.size());
    device().run(speft_measure_rounding{segments.data(), segments.size(), totals.data(), losses.data()});
    const double total = std::accumulate(totals.begin(), totals.end(), 0.0);
    return total == 0 ? 0 : std::accumulate(losses.begin(), losses.end(), 0.0) / total;
}

Buffer<float> Adapter::widen_deltas(const ChangedWeights &weights, std::size_t parameter) const {
    const auto count = static_cast<std::uint64_t>(weights.masks.slots[parameter].count);
    Buffer<float> wide = Buffer<float>::zeros(device(), count);
    if (count == 0) return wide;
    speft_add_values add{};
    add.sums = wide.data();
    add.source = weights.deltas.data(parameter);
    add.count = count;
    add.source_type = static_cast<std::int32_t>(weights.deltas.type(parameter));
    add.scale = add.weight = 1;
    device().run(add);
    return wide;
}

// The host's side of deltas is float32, which holds every bfloat16 exactly.
void Adapter::put_deltas(const ChangedWeights &weights, std::size_t parameter, std::span<const float> deltas) const {
    std::byte *const target = weights.deltas.data(parameter);
    if (weights.deltas.type(parameter) == ScalarType::float32) {
        device().copy_to_device(target, deltas.data(), deltas.size() * sizeof(float));
        return;
    }
    std::vector<BFloat16> narrow;
    for (const float delta : deltas) narrow.push_back(from_float<BFloat16>(delta));
    device().copy_to_device(target, narrow.data(), narrow.size() * sizeof(BFloat16));
}

std::vector<float> Adapter::take_deltas(const ChangedWeights &weights, std::size_t parameter) const {
    const std::byte *const source = weights.deltas.data(parameter);
    std::vector<float> deltas(static_cast<std::size_t>(weights.masks.slots[parameter].count));
    if (weights.deltas.type(parameter) == ScalarType::float32) {
        device().copy_to_host(deltas.data(), source, deltas.size() * sizeof(float));
        return deltas;
    }
    std::vector<BFloat16> narrow(deltas.size());
    device().copy_to_host(narrow.data(), source, narrow.size() * sizeof(BFloat16));
    std::transform(narrow.begin(), narrow.end(), deltas.begin(), [](BFloat16 delta) { return to_float(delta); });
    return deltas;
}

}  // namespace speft
