// An adapter as plain data on the host, with the state of its training or without, and back.
#include "core/adapter/adapter.h"

#include <utility>

#include "core/base/hash.h"
#include "core/base/status.h"
#include "core/storage/json.h"

namespace speft {

namespace {

struct StateTypeName {
    StateType type;
    const char *name;  // as safetensors has it
    std::uint64_t bytes;
};

constexpr StateTypeName state_types[] = {
    {StateType::float32, "F32", 4}, {StateType::bfloat16, "BF16", 2}, {StateType::uint16, "U16", 2},
    {StateType::uint8, "U8", 1},    {StateType::int32, "I32", 4},
};

const StateTypeName &look_up(const std::string &name) {
    for (const StateTypeName &known : state_types)
        if (name == known.name) return known;
    throw Failure(SPEFT_CORRUPT, "the checkpoint has a state of the unknown type " + quote(name));
}

StateRecord record_state(Device &device, const OptimizerState &state) {
    const StateTypeName &type = state_types[static_cast<std::size_t>(state.type)];
    StateRecord record{state.name, type.name, state.count, std::vector<std::byte>(state.count * type.bytes)};
    device.copy_to_host(record.bytes.data(), state.values, record.bytes.size());
    return record;
}

Received received_by(const Gradients &gradients, std::size_t parameter) {
    if (gradients.present(parameter)) return Received::pending;
    return gradients.ever(parameter) ? Received::cleared : Received::nothing;
}

// All changed weights of one parameter in the order of their indices, the active and the settled ones together.
struct Changed {
    std::vector<std::uint32_t> indices;
    std::vector<float> deltas;
    std::vector<std::byte> originals;
    std::vector<std::uint32_t> settled;  // positions of those that are

    // `width`: bytes of an original.
    void append(const Changed &from, std::size_t at, std::size_t width) {
        if (!from.indices.empty()) indices.push_back(from.indices[at]);
        deltas.push_back(from.deltas[at]);
        if (from.originals.empty()) return;
        const auto first = from.originals.begin() + static_cast<std::ptrdiff_t>(at * width);
        originals.insert(originals.end(), first, first + static_cast<std::ptrdiff_t>(width));
    }
};

Changed merge_changed(Changed active, const Changed &settled, std::size_t width) {
    if (settled.indices.empty()) return active;
    Changed merged;
    std::size_t next = 0;
    const auto append_settled = [&] {
        merged.settled.push_back(static_cast<std::uint32_t>(merged.indices.size()));
        merged.append(settled, next++, width);
    };
    for (std::size_t at = 0; at < active.indices.size(); ++at) {
        while (next < settled.indices.size() && settled.indices[next] < active.indices[at]) append_settled();
        merged.append(active, at, width);
    }
    while (next < settled.indices.size()) append_settled();
    return merged;
}

// The values whose flag is this one; `width` of them share a flag.
template <class Value>
std::vector<Value> choose_where(const std::vector<Value> &values, const std::vector<bool> &flags, bool flag,
                                std::size_t width = 1) {
    std::vector<Value> chosen;
    for (std::size_t at = 0; at < values.size(); ++at)
        if (flags[at / width] == flag) chosen.push_back(values[at]);
    return chosen;
}

// Which of a parameter's indices are settled: none but in a checkpoint.
std::vector<bool> settled_flags(const AdapterRecord &record, std::size_t parameter) {
    std::vector<bool> flags(record.parameters[parameter].deltas.size());
    if (record.training)
        for (const std::uint32_t position : record.training->parameters[parameter].settled) flags[position] = true;
    return flags;
}

OwnedList list_on_device(Device &device, const std::vector<std::uint32_t> &indices) {
    OwnedList list{{device, indices.size()}, indices.size()};
    device.copy_to_device(list.buffer.data(), indices.data(), indices.size() * sizeof(std::uint32_t));
    return list;
}

Changed copy_changed(Device &device, const ChangedWeights &weights, std::size_t parameter, std::vector<float> deltas,
                     bool originals_known) {
    Changed changed;
    changed.deltas = std::move(deltas);
    if (const Masks::Slot &slot = weights.masks.slots[parameter]; slot.indices) {
        changed.indices.resize(static_cast<std::size_t>(slot.count));
        device.copy_to_host(changed.indices.data(), slot.indices, changed.indices.size() * sizeof(std::uint32_t));
    }
    if (originals_known) {
        changed.originals.resize(weights.originals.bytes(parameter));
        device.copy_to_host(changed.originals.data(), weights.originals.data(parameter), changed.originals.size());
    }
    return changed;
}

AdapterOptions options_of(const AdapterRecord &record) {
    AdapterOptions options;
    options.selection = record.selection;
    options.optimizer = record.optimizer;
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

// ---- out ----

AdapterRecord Adapter::record(bool with_training) const {
    const Training &state = training();
    if (with_training && held_gradient())
        refuse_state("the step's gradient has arrived, and its scalars are not selected yet: call speft_reselect "
                     "before the checkpoint, or speft_clear_gradient");
    if (with_training && reselection_due())
        refuse_state("a reselection is due after step " + std::to_string(steps_) +
                     ": call speft_reselect before the checkpoint");
    if (with_training && state.candidates && state.candidates->holds())
        refuse_state("the first step of the window before a reselection has begun: call speft_step before the "
                     "checkpoint, or speft_clear_gradient");
    AdapterRecord record;
    record.selection = options_.selection;
    record.optimizer = options_.optimizer;
    record.delta_type = static_cast<std::int32_t>(options_.delta_type);
    record.steps = steps_;
    if (with_training) {
        TrainingRecord &training = record.training.emplace();
        training.observations = observations_;
        training.originals_known = state.originals_known;
        for (const OptimizerState &values : state.optimizer->state())
            training.state.push_back(record_state(device(), values));
        if (state.candidates) training.candidates = state.candidates->record(device());
    }
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const Parameter &parameter = declared_[index];
        Changed all = merge_changed(
            copy_changed(device(), state.active, index, take_deltas(state.active, index), state.originals_known),
            copy_changed(device(), state.settled, index, take_deltas(state.settled, index), state.originals_known),
            size_of(parameter.type));
        ParameterRecord stored;
        stored.name = parameter.name;
        stored.shape = parameter.shape;
        stored.scalar_type = static_cast<std::int32_t>(parameter.type);
        stored.role = static_cast<std::int32_t>(parameter.role);
        stored.group = parameter.group;
        if (parameter.role == Role::sparse)
            stored.base_hash = state.originals_known && !basis(index)
                                   ? hash_bytes(all.originals.data(), all.originals.size())
                                   : state.base_hashes[index];
        stored.basis = record_basis(record, index);
        stored.indices = std::move(all.indices);
        stored.deltas = std::move(all.deltas);
        record.parameters.push_back(std::move(stored));
        if (with_training) {
            ParameterTraining trained = record_training(state, index);
            trained.originals = std::move(all.originals);
            trained.settled = std::move(all.settled);
            record.training->parameters.push_back(std::move(trained));
        }
    }
    return record;
}

// Each basis once, however many parameters are in it.
std::optional<std::size_t> Adapter::record_basis(AdapterRecord &record, std::size_t parameter) const {
    const BasisFactors *const factors = basis(parameter);
    if (!factors) return std::nullopt;
    std::size_t number = 0;
    for (std::size_t before = 0; before < parameter; ++before) {
        if (basis(before) == factors) return record.parameters[before].basis;
        if (record.parameters[before].basis) number = std::max(number, *record.parameters[before].basis + 1);
    }
    BasisRecord &stored = record.bases.emplace_back();
    stored.rows = factors->shape().rows;
    stored.columns = factors->shape().columns;
    stored.row_directions = factors->shape().row_directions;
    stored.column_directions = factors->shape().column_directions;
    stored.u.resize(factors->u().count());
    stored.v.resize(factors->v().count());
    device().copy_to_host(stored.u.data(), factors->u().data(), stored.u.size() * sizeof(float));
    device().copy_to_host(stored.v.data(), factors->v().data(), stored.v.size() * sizeof(float));
    return number;
}

ParameterTraining Adapter::record_training(const Training &state, std::size_t parameter) const {
    const Masks &masks = state.active.masks;
    const auto count = static_cast<std::size_t>(masks.slots[parameter].count);
    ParameterTraining trained;
    trained.received = received_by(state.gradients, parameter);
    if (trained.received == Received::pending) {
        trained.gradient.resize(count);
        device().copy_to_host(trained.gradient.data(), state.gradients.values(masks, parameter),
                              count * sizeof(float));
    }
    trained.updates = state.optimizer->updates()[parameter];
    if (state.last_deltas) {
        trained.last_deltas.resize(count);
        device().copy_to_host(trained.last_deltas.data(), state.last_deltas.data() + masks.slots[parameter].offset,
                              count * sizeof(float));
    }
    return trained;
}

// ---- and back ----

Adapter::Adapter(std::shared_ptr<Context> context, const AdapterRecord &record, ScoreFunction score)
    : context_(std::move(context)), options_(options_of(record)), declared_(parameters_of(record)),
      parameters_(declared_), bases_(parameters_.size()), weights_(parameters_.size()),
      claims_(parameters_.size()), folded_(parameters_.size()),
      given_masks_(parameters_.size()), given_scores_(parameters_.size()), references_(parameters_.size()),
      clock_(options_.selection.method, options_.selection.schedule), moves_(record.training && clock_.moves()),
      by_step_(record.training && selects_by_step(options_.selection)),
      reselected_(record.steps), steps_(record.steps) {
    check_optimizer(options_.optimizer);
    options_.selection.score = score;
    options_.optimizer.lazy = by_step_;
    restore_bases(record);
    std::vector<OwnedList> active, settled;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const std::vector<std::uint32_t> &all = record.parameters[index].indices;
        const std::vector<bool> flags = settled_flags(record, index);
        active.push_back(list_on_device(device(), choose_where(all, flags, false)));
        settled.push_back(list_on_device(device(), choose_where(all, flags, true)));
    }
    std::unique_ptr<Training> loaded = make_training(join(device(), parameters_, active, DenseParameters::all));
    loaded->settled = make_weights(join(device(), parameters_, settled, DenseParameters::none));
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const std::vector<bool> flags = settled_flags(record, index);
        put_deltas(loaded->active, index, choose_where(record.parameters[index].deltas, flags, false));
        put_deltas(loaded->settled, index, choose_where(record.parameters[index].deltas, flags, true));
        loaded->base_hashes[index] = record.parameters[index].base_hash;
    }
    if (record.training) restore(*loaded, record);
    training_ = std::move(loaded);
    if (moves_) observation_ = make_observation();
}

void Adapter::restore_bases(const AdapterRecord &record) {
    std::vector<std::shared_ptr<BasisFactors>> bases;
    for (const BasisRecord &stored : record.bases) {
        bases.push_back(std::make_shared<BasisFactors>(
            device(),
            BasisShape{stored.rows, stored.columns, stored.row_directions, stored.column_directions}));
        device().copy_to_device(bases.back()->u().data(), stored.u.data(), stored.u.size() * sizeof(float));
        device().copy_to_device(bases.back()->v().data(), stored.v.data(), stored.v.size() * sizeof(float));
        bases.back()->prepare(device());
    }
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (!record.parameters[index].basis) continue;
        bases_[index] = bases[*record.parameters[index].basis];
        parameters_[index] = in_basis(declared_[index], bases_[index]->shape());
        any_basis_ = true;
    }
}

void Adapter::restore(Training &training, const AdapterRecord &record) {
    const TrainingRecord &trainings = *record.training;
    observations_ = trainings.observations;
    const Masks &masks = training.active.masks;
    if (options_.selection.schedule.drop == SPEFT_DROP_CHANGE)
        training.last_deltas = Buffer<float>::zeros(device(), masks.trained);
    std::vector<std::uint32_t> updates;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const ParameterTraining &trained = trainings.parameters[index];
        if (trainings.originals_known) {
            const std::vector<bool> flags = settled_flags(record, index);
            const std::size_t width = basis(index) ? 1 : size_of(parameters_[index].type);
            for (const bool settled : {false, true}) {
                const std::vector<std::byte> bytes = choose_where(trained.originals, flags, settled, width);
                const ChangedWeights &weights = settled ? training.settled : training.active;
                device().copy_to_device(weights.originals.data(index), bytes.data(), bytes.size());
            }
        }
        if (trained.received != Received::nothing)
            training.gradients.restore(device(), masks, index,
                                       trained.received == Received::pending ? trained.gradient.data() : nullptr);
        if (training.last_deltas)
            device().copy_to_device(training.last_deltas.data() + masks.slots[index].offset,
                                    trained.last_deltas.data(), trained.last_deltas.size() * sizeof(float));
        updates.push_back(trained.updates);
    }
    training.originals_known = trainings.originals_known;
    if (training.candidates) {
        training.candidates->restore(device(), parameters_, trainings.candidates);
        for (std::size_t index = 0; index < parameters_.size(); ++index)
            training.arrived[index] = training.gradients.squares(device(), masks, index);
    }

    training.optimizer->set_updates(std::move(updates));
    for (const StateRecord &values : trainings.state) {
        void *const target = training.optimizer->allocate_state(device(), masks, values.name.c_str(),
                                                                look_up(values.type).type, values.count);
        if (!target)
            throw Failure(SPEFT_CORRUPT,
                          "the checkpoint has the state " + quote(values.name) + ", which its optimizer does not");
        device().copy_to_device(target, values.bytes.data(), values.bytes.size());
    }
    training.optimizer->check_restored(device(), masks);
}

}  // namespace speft
