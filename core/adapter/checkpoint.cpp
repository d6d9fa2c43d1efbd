// The state of a training as plain data on the host, and back.
#include "core/adapter/adapter.h"

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

}  // namespace

AdapterRecord Adapter::checkpoint() const {
    AdapterRecord record = this->record();
    const Training &state = training();
    TrainingRecord &training = record.training.emplace();
    training.observations = observations_;
    training.originals_known = state.originals_known;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        ParameterTraining &trained = training.parameters.emplace_back();
        if (state.originals_known) {
            trained.originals.resize(state.originals.bytes(index));
            device().copy_to_host(trained.originals.data(), state.originals.data(index), trained.originals.size());
        }
        trained.received = received_by(state.gradients, index);
        if (trained.received == Received::pending) {
            trained.gradient.resize(static_cast<std::size_t>(state.masks.slots[index].count));
            device().copy_to_host(trained.gradient.data(), state.gradients.values(state.masks, index),
                                  trained.gradient.size() * sizeof(float));
        }
        trained.updates = state.optimizer->updates()[index];
    }
    for (const OptimizerState &values : state.optimizer->state())
        training.state.push_back(record_state(device(), values));
    return record;
}

void Adapter::restore(Training &training, const TrainingRecord &record) {
    observations_ = record.observations;
    std::vector<std::uint32_t> updates;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const ParameterTraining &trained = record.parameters[index];
        if (record.originals_known)
            device().copy_to_device(training.originals.data(index), trained.originals.data(),
                                    trained.originals.size());
        if (trained.received != Received::nothing)
            training.gradients.restore(device(), training.masks, index,
                                       trained.received == Received::pending ? trained.gradient.data() : nullptr);
        updates.push_back(trained.updates);
    }
    training.originals_known = record.originals_known;
    if (record.originals_known) training.base_hashes.clear();

    training.optimizer->set_updates(std::move(updates));
    for (const StateRecord &values : record.state) {
        void *const target = training.optimizer->allocate_state(device(), training.masks, values.name.c_str(),
                                                                look_up(values.type).type, values.count);
        if (!target)
            throw Failure(SPEFT_CORRUPT,
                          "the checkpoint has the state " + quote(values.name) + ", which its optimizer does not");
        device().copy_to_device(target, values.bytes.data(), values.bytes.size());
    }
    training.optimizer->check_restored(device(), training.masks);
}

}  // namespace speft
