#include "core/storage/training_tensors.h"

#include <cstring>
#include <limits>
#include <numeric>
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
constexpr const char *settled_name = "training.settled";
constexpr const char *last_deltas_name = "training.last_deltas";
constexpr const char *candidate_indices_name = "training.candidates.indices";
constexpr const char *candidate_sums_name = "training.candidates.sums";
constexpr const char *candidate_squares_name = "training.candidates.squares";
constexpr const char *candidate_gradients_name = "training.candidates.gradients";
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

// 0 when it is left out.
std::uint64_t parse_count(const JsonObject &parameter, const char *field) {
    if (!parameter.has(field)) return 0;
    return static_cast<std::uint64_t>(parameter.size(field, std::numeric_limits<std::uint32_t>::max()));
}

std::vector<std::int64_t> vector_of(std::uint64_t count) { return {static_cast<std::int64_t>(count)}; }

// Of the scalars that are trained still.
std::uint64_t trained_count(const AdapterRecord &record, std::size_t parameter) {
    return record.parameters[parameter].deltas.size() - record.training->parameters[parameter].settled.size();
}

std::uint64_t original_bytes(const ParameterRecord &parameter) {
    if (parameter.basis) return 0;  // their deltas belong to no weight alone
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
        if (training.parameters[i].received == Received::pending) pending += trained_count(record, i);
    const Tensor tensor = tensors.take(gradients_name, {"F32"}, vector_of(pending));
    ByteCursor cursor(tensor.bytes);
    for (std::size_t i = 0; i < record.parameters.size(); ++i) {
        if (training.parameters[i].received != Received::pending) continue;
        std::vector<float> &gradient = training.parameters[i].gradient;
        gradient.resize(trained_count(record, i));
        decode_floats(cursor.next(gradient.size() * sizeof(float)), ScalarType::float32, gradient);
    }
}

// Values of 4 bytes.
template <class Value>
std::vector<Value> next_values(ByteCursor &cursor, std::uint64_t count) {
    const std::span<const std::byte> part = cursor.next(count * sizeof(Value));
    std::vector<Value> values(count);
    if (count > 0) std::memcpy(values.data(), part.data(), part.size());
    return values;
}

template <class Value>
void append_values(std::vector<std::byte> &bytes, const std::vector<Value> &values) {
    const auto *first = reinterpret_cast<const std::byte *>(values.data());
    bytes.insert(bytes.end(), first, first + values.size() * sizeof(Value));
}

void add_vector(const char *name, const char *type, std::vector<std::byte> bytes, Tensors &tensors) {
    const std::vector<std::int64_t> shape = vector_of(bytes.size() / 4);
    tensors[name] = {type, shape, std::move(bytes)};
}

// `counts`: how many of each parameter's are settled; read before anything that is as long as what is trained.
void take_settled(const std::vector<std::uint64_t> &counts, TensorReader &tensors, AdapterRecord &record) {
    const std::uint64_t total = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    if (total == 0) return;
    const Tensor tensor = tensors.take(settled_name, {"U32"}, vector_of(total));
    ByteCursor cursor(tensor.bytes);
    for (std::size_t i = 0; i < counts.size(); ++i) {
        record.training->parameters[i].settled = next_values<std::uint32_t>(cursor, counts[i]);
        if (counts[i] > record.parameters[i].deltas.size())
            throw Defect("more scalars of parameter " + quote(record.parameters[i].name) + " are settled than changed");
    }
}

void take_last_deltas(TensorReader &tensors, AdapterRecord &record) {
    if (!tensors.has(last_deltas_name)) return;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < record.parameters.size(); ++i) total += trained_count(record, i);
    const Tensor tensor = tensors.take(last_deltas_name, {"F32"}, vector_of(total));
    ByteCursor cursor(tensor.bytes);
    for (std::size_t i = 0; i < record.parameters.size(); ++i)
        record.training->parameters[i].last_deltas = next_values<float>(cursor, trained_count(record, i));
}

// `pending`: how many of them have a gradient that waits for its step, all of a parameter or none.
void take_candidates(const std::vector<std::uint64_t> &counts, const std::vector<std::uint64_t> &pending,
                     TensorReader &tensors, AdapterRecord &record) {
    if (!tensors.has(candidate_indices_name)) return;
    const std::uint64_t total = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    const std::uint64_t waiting = std::accumulate(pending.begin(), pending.end(), std::uint64_t{0});
    const Tensor gradient_tensor = tensors.take(candidate_gradients_name, {"F32"}, vector_of(waiting));
    const Tensor index_tensor = tensors.take(candidate_indices_name, {"U32"}, vector_of(total));
    const Tensor sum_tensor = tensors.take(candidate_sums_name, {"F32"}, vector_of(total));
    const Tensor square_tensor = tensors.take(candidate_squares_name, {"F32"}, vector_of(total));
    ByteCursor indices(index_tensor.bytes), sums(sum_tensor.bytes), squares(square_tensor.bytes),
        gradients(gradient_tensor.bytes);
    for (std::size_t i = 0; i < counts.size(); ++i)
        record.training->candidates.push_back(
            {next_values<std::uint32_t>(indices, counts[i]), next_values<float>(sums, counts[i]),
             next_values<float>(squares, counts[i]), next_values<float>(gradients, pending[i])});
}

void add_moving(const TrainingRecord &training, Tensors &tensors) {
    std::vector<std::byte> settled, last_deltas, indices, sums, squares, gradients;
    for (const ParameterTraining &parameter : training.parameters) {
        append_values(settled, parameter.settled);
        append_values(last_deltas, parameter.last_deltas);
    }
    for (const CandidateRecord &candidates : training.candidates) {
        append_values(indices, candidates.indices);
        append_values(sums, candidates.sums);
        append_values(squares, candidates.squares);
        append_values(gradients, candidates.gradient);
    }
    if (!settled.empty()) add_vector(settled_name, "U32", std::move(settled), tensors);
    if (!last_deltas.empty()) add_vector(last_deltas_name, "F32", std::move(last_deltas), tensors);
    if (training.candidates.empty()) return;
    add_vector(candidate_indices_name, "U32", std::move(indices), tensors);
    add_vector(candidate_sums_name, "F32", std::move(sums), tensors);
    add_vector(candidate_squares_name, "F32", std::move(squares), tensors);
    add_vector(candidate_gradients_name, "F32", std::move(gradients), tensors);
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
    const TrainingRecord &training = *record.training;
    for (std::size_t i = 0; i < training.parameters.size(); ++i) {
        const ParameterTraining &parameter = training.parameters[i];
        json.begin_object();
        json.member("received", word_of(parameter.received));
        json.member("updates", parameter.updates);
        if (!parameter.settled.empty()) json.member("settled", parameter.settled.size());
        if (!training.candidates.empty()) {
            json.member("candidates", training.candidates[i].indices.size());
            json.member("candidate_gradients", training.candidates[i].gradient.size());
        }
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
    add_moving(*record.training, tensors);
    for (const StateRecord &state : record.training->state)
        tensors[state_prefix + state.name] = {state.type, vector_of(state.count), state.bytes};
}

void take_training(const std::string &text, TensorReader &tensors, AdapterRecord &record) {
    const Json parsed = parse_json_object(text, "\"speft.training\"");
    const JsonObject object(parsed, "\"speft.training\"");
    TrainingRecord &training = record.training.emplace();
    training.observations = object.size("observations");
    std::vector<std::uint64_t> settled, candidates, candidate_gradients;
    for (const Json &value : object.array("parameters")) {
        const std::string where = "the training of parameter " + std::to_string(training.parameters.size());
        const JsonObject parameter(value, where);
        training.parameters.push_back(parse_parameter(parameter));
        settled.push_back(parse_count(parameter, "settled"));
        candidates.push_back(parse_count(parameter, "candidates"));
        candidate_gradients.push_back(parse_count(parameter, "candidate_gradients"));
    }
    if (training.parameters.size() != record.parameters.size())
        throw Defect("it has a training state of " + std::to_string(training.parameters.size()) +
                     " parameters, expected " + std::to_string(record.parameters.size()));
    take_settled(settled, tensors, record);
    take_originals(tensors, record);
    take_last_deltas(tensors, record);
    take_candidates(candidates, candidate_gradients, tensors, record);
    take_gradients(tensors, record);
    take_state(tensors, record);
}

}  // namespace speft
