#include "core/storage/training_tensors.h"

#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/scalar_type.h"
#include "core/storage/defect.h"
#include "core/storage/float_code.h"
#include "core/storage/json.h"
#include "core/storage/json_writer.h"

namespace speft {

namespace {

constexpr const char *originals_name = "training.originals";
constexpr const char *gradients_name = "training.gradients";
constexpr const char *state_prefix = "training.state.";

constexpr std::pair<Received, const char *> received_words[] = {
    {Received::nothing, "nothing"},
    {Received::cleared, "cleared"},
    {Received::pending, "pending"},
};

const char *word_of(Received received) { return received_words[static_cast<std::size_t>(received)].second; }

Received parse_received(const std::string &word) {
    for (const auto &[received, known] : received_words)
        if (word == known) return received;
    throw Defect("\"received\" must be nothing, cleared or pending, got " + quote(word));
}

ParameterTraining parse_parameter(const JsonObject &parameter) {
    ParameterTraining training;
    training.received = parse_received(parameter.text("received"));
    training.updates =
        static_cast<std::uint32_t>(parameter.size("updates", std::numeric_limits<std::int32_t>::max()));
    return training;
}

std::vector<std::int64_t> vector_of(std::uint64_t count) { return {static_cast<std::int64_t>(count)}; }

std::uint64_t original_bytes(const ParameterRecord &parameter) {
    return parameter.deltas.size() * size_of(static_cast<ScalarType>(parameter.scalar_type));
}

void take_originals(TensorReader &tensors, AdapterRecord &record) {
    TrainingRecord &training = *record.training;
    training.originals_known = tensors.has(originals_name);
    if (!training.originals_known) return;
    std::uint64_t bytes = 0;
    for (const ParameterRecord &parameter : record.parameters) bytes += original_bytes(parameter);
    const Tensor tensor = tensors.take(originals_name, {"U8"}, vector_of(bytes));
    ByteCursor cursor(tensor.bytes);
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        const std::span<const std::byte> part = cursor.next(original_bytes(record.parameters[i]));
        training.parameters[i].originals.assign(part.begin(), part.end());
    }
}

void take_gradients(TensorReader &tensors, AdapterRecord &record) {
    TrainingRecord &training = *record.training;
    std::uint64_t pending = 0;
    for (std::size_t i = 0; i < record.parameters.size(); ++i)
        if (training.parameters[i].received == Received::pending) pending += record.parameters[i].deltas.size();
    const Tensor tensor = tensors.take(gradients_name, {"F32"}, vector_of(pending));
    ByteCursor cursor(tensor.bytes);
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        if (training.parameters[i].received != Received::pending) continue;
        std::vector<float> &gradient = training.parameters[i].gradient;
        gradient.resize(record.parameters[i].deltas.size());
        decode_floats(cursor.next(gradient.size() * sizeof(float)), ScalarType::float32, gradient);
    }
}

void take_state(TensorReader &tensors, AdapterRecord &record) {
    for (const std::string &name : tensors.names_with_prefix(state_prefix)) {
        Tensor tensor = tensors.take_vector(name, {"F32", "BF16", "U16", "U8", "I32"});
        record.training->state.push_back({name.substr(std::string_view(state_prefix).size()), tensor.type,
                                          static_cast<std::uint64_t>(tensor.shape.front()),
                                          std::move(tensor.bytes)});
    }
}

}  // namespace

std::string format_training(const AdapterRecord &record) {
    JsonWriter json;
    json.begin_object();
    json.member("observations", record.training->observations);
    json.key("parameters");
    json.begin_array();
    for (const ParameterTraining &parameter : record.training->parameters) {
        json.begin_object();
        json.member("received", word_of(parameter.received));
        json.member("updates", parameter.updates);
        json.end_object();
    }
    json.end_array();
    json.end_object();
    return json.take();
}

void add_training_tensors(const AdapterRecord &record, Tensors &tensors) {
    std::vector<std::byte> originals, gradients;
    for (const ParameterTraining &parameter : record.training->parameters) {
        originals.insert(originals.end(), parameter.originals.begin(), parameter.originals.end());
        const std::vector<std::byte> gradient = encode_floats(parameter.gradient, ScalarType::float32);
        gradients.insert(gradients.end(), gradient.begin(), gradient.end());
    }
    if (record.training->originals_known) {
        const std::vector<std::int64_t> shape = vector_of(originals.size());
        tensors[originals_name] = {"U8", shape, std::move(originals)};
    }
    const std::vector<std::int64_t> shape = vector_of(gradients.size() / sizeof(float));
    tensors[gradients_name] = {"F32", shape, std::move(gradients)};
    for (const StateRecord &state : record.training->state)
        tensors[state_prefix + state.name] = {state.type, vector_of(state.count), state.bytes};
}

void take_training(const std::string &text, TensorReader &tensors, AdapterRecord &record) {
    const Json parsed = parse_json_object(text, "\"speft.training\"");
    const JsonObject object(parsed, "\"speft.training\"");
    TrainingRecord &training = record.training.emplace();
    training.observations = object.size("observations");
    for (const Json &value : object.array("parameters")) {
        const std::string where = "the training of parameter " + std::to_string(training.parameters.size());
        training.parameters.push_back(parse_parameter({value, where}));
    }
    if (training.parameters.size() != record.parameters.size())
        throw Defect("it has a training state of " + std::to_string(training.parameters.size()) +
                     " parameters, expected " + std::to_string(record.parameters.size()));
    take_originals(tensors, record);
    take_gradients(tensors, record);
    take_state(tensors, record);
}

}  // namespace speft
