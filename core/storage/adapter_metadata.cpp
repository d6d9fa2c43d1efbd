#include "core/storage/adapter_metadata.h"

#include <charconv>
#include <limits>
#include <span>
#include <system_error>

#include "core/base/status.h"
#include "core/selection/method_name.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/json_writer.h"
#include "core/storage/shape.h"
#include "speft/adapter.h"
#include "speft/backend.h"
#include "speft/optimizer.h"
#include "speft/selection.h"

namespace speft {

namespace {

struct Word {
    std::int32_t number;
    const char *word;
};

constexpr Word scopes[] = {
    {SPEFT_SCOPE_GLOBAL, "global"},
    {SPEFT_SCOPE_PER_TENSOR, "per-tensor"},
    {SPEFT_SCOPE_PER_ROW, "per-row"},
};
constexpr Word randoms[] = {{SPEFT_RANDOM_EXACT, "exact"}, {SPEFT_RANDOM_BERNOULLI, "bernoulli"}};
constexpr Word ages[] = {{SPEFT_AGE_COMMON, "common"}, {SPEFT_AGE_PER_WEIGHT, "per-weight"}};
constexpr Word states[] = {
    {SPEFT_STATE_FLOAT32, "float32"},
    {SPEFT_STATE_BFLOAT16, "bfloat16"},
    {SPEFT_STATE_BLOCKS8, "blocks8"},
};
constexpr Word delta_types[] = {{SPEFT_DELTA_FLOAT32, "float32"}, {SPEFT_DELTA_BFLOAT16, "bfloat16"}};
constexpr Word roles[] = {{SPEFT_ROLE_SPARSE, "sparse"}, {SPEFT_ROLE_DENSE, "dense"}};
constexpr Word optimizers[] = {
    {SPEFT_OPTIMIZER_ADAMW, "adamw"}, {SPEFT_OPTIMIZER_SGD, "sgd"},
    {SPEFT_OPTIMIZER_SM3, "sm3"},     {SPEFT_OPTIMIZER_LION, "lion"},
    {SPEFT_OPTIMIZER_ADAFACTOR, "adafactor"}, {SPEFT_OPTIMIZER_ADAM, "adam"},
};
constexpr Word means[] = {{SPEFT_MEAN_SIGNED, "signed"}, {SPEFT_MEAN_OF_ABSOLUTES, "absolute"}};
constexpr Word schedules[] = {
    {SPEFT_SCHEDULE_DEFAULT, "default"},   {SPEFT_SCHEDULE_LINEAR, "linear"}, {SPEFT_SCHEDULE_COSINE, "cosine"},
    {SPEFT_SCHEDULE_CONSTANT, "constant"}, {SPEFT_SCHEDULE_NONE, "none"},
};
constexpr Word drops[] = {{SPEFT_DROP_MAGNITUDE, "magnitude"}, {SPEFT_DROP_CHANGE, "change"}};
constexpr Word scalar_types[] = {
    {SPEFT_SCALAR_FLOAT32, "float32"},
    {SPEFT_SCALAR_BFLOAT16, "bfloat16"},
    {SPEFT_SCALAR_FLOAT16, "float16"},
};

const char *find_word(std::span<const Word> words, std::int32_t number, const char *field) {
    for (const Word &known : words)
        if (known.number == number) return known.word;
    refuse("the adapter's " + std::string(field) + " must be a known one, got " + std::to_string(number));
}

[[noreturn]] void refuse_word(const char *field, const std::string &word) {
    throw Defect("it has the unknown " + std::string(field) + " " + quote(word));
}

std::int32_t find_number(std::span<const Word> words, const JsonObject &object, const char *field) {
    const std::string &word = object.text(field);
    for (const Word &known : words)
        if (known.word == word) return known.number;
    refuse_word(field, word);
}

std::int32_t find_method_number(const JsonObject &adapter) {
    const std::string &name = adapter.text("method");
    if (const std::optional<std::int32_t> method = find_method(name)) return *method;
    refuse_word("method", name);
}

// 64 bits go as text: many JSON readers would round them to a double.
std::uint64_t parse_seed(const std::string &text) {
    std::uint64_t seed = 0;
    const char *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, seed);
    if (error != std::errc() || stop != end)
        throw Defect("\"seed\" must be a decimal number of 64 bits, got " + quote(text));
    return seed;
}

// Most parameters are sparse, in the common group and of one type: what is so is left out, and the rest of the header
// is shorter than the deltas of even a small mask.
std::int32_t common_type(const AdapterRecord &record) { return record.parameters.front().scalar_type; }

void write_parameter(JsonWriter &json, const ParameterRecord &parameter, std::int32_t common_type) {
    json.begin_object();
    json.member("name", parameter.name);
    json.member("shape", parameter.shape);
    if (parameter.scalar_type != common_type)
        json.member("type", find_word(scalar_types, parameter.scalar_type, "type"));
    if (parameter.group != 0) json.member("group", parameter.group);
    if (parameter.basis) json.member("basis", *parameter.basis);
    if (parameter.role == SPEFT_ROLE_SPARSE)
        json.member("count", parameter.indices.size());
    else
        json.member("role", find_word(roles, parameter.role, "role"));
    json.end_object();
}

ParameterRecord parse_parameter(const JsonObject &parameter, std::int32_t common_type) {
    ParameterRecord record;
    record.name = parameter.text("name");
    record.shape = parameter.sizes("shape");
    record.scalar_type = parameter.has("type") ? find_number(scalar_types, parameter, "type") : common_type;
    record.role = parameter.has("role") ? find_number(roles, parameter, "role") : SPEFT_ROLE_SPARSE;
    if (parameter.has("group"))
        record.group =
            static_cast<std::int32_t>(parameter.size("group", std::numeric_limits<std::int32_t>::max()));
    if (parameter.has("basis")) record.basis = static_cast<std::size_t>(parameter.size("basis"));
    return record;
}

// How many scalars are trained: not more than there are.
std::uint64_t parse_count(const JsonObject &parameter, const AdapterRecord &adapter, std::size_t position) {
    const ParameterRecord &record = adapter.parameters[position];
    const std::uint64_t size = count_trainable(adapter, position);
    if (record.role == SPEFT_ROLE_DENSE) return size;
    return static_cast<std::uint64_t>(parameter.size("count", static_cast<std::int64_t>(size)));
}

void write_bases(JsonWriter &json, const std::vector<BasisRecord> &bases) {
    if (bases.empty()) return;
    json.key("bases");
    json.begin_array();
    for (const BasisRecord &basis : bases) {
        json.begin_object();
        json.member("rows", basis.rows);
        json.member("columns", basis.columns);
        json.member("row_directions", basis.row_directions);
        json.member("column_directions", basis.column_directions);
        json.end_object();
    }
    json.end_array();
}

BasisRecord parse_basis(const JsonObject &object) {
    BasisRecord basis;
    basis.rows = static_cast<std::uint64_t>(object.size("rows"));
    basis.columns = static_cast<std::uint64_t>(object.size("columns"));
    basis.row_directions = static_cast<std::uint64_t>(object.size("row_directions"));
    basis.column_directions = static_cast<std::uint64_t>(object.size("column_directions"));
    return basis;
}

// Only of masks that move.
void write_schedule(JsonWriter &json, const Schedule &schedule) {
    if (schedule == Schedule{}) return;
    json.key("schedule");
    json.begin_object();
    json.member("schedule", find_word(schedules, schedule.kind, "schedule"));
    json.member("total_steps", schedule.total_steps);
    json.member("reselect_every", schedule.reselect_every);
    json.member("window", schedule.window);
    json.member("rate", schedule.rate);
    json.member("candidates", schedule.candidates);
    json.member("drop", find_word(drops, schedule.drop, "drop"));
    json.member("keep_moments", std::int64_t{schedule.keep_moments});
    json.member("settled_limit", schedule.settled_limit);
    json.member("track_moves", std::int64_t{schedule.track_moves});
    json.end_object();
}

Schedule parse_schedule(const JsonObject &object) {
    Schedule schedule;
    schedule.kind = find_number(schedules, object, "schedule");
    schedule.total_steps = object.size("total_steps");
    schedule.reselect_every = object.size("reselect_every");
    schedule.window = object.size("window");
    schedule.rate = object.number("rate");
    schedule.candidates = object.size("candidates");
    schedule.drop = find_number(drops, object, "drop");
    schedule.keep_moments = object.size("keep_moments", 1) != 0;
    schedule.settled_limit = object.size("settled_limit");
    schedule.track_moves = object.size("track_moves", 1) != 0;
    return schedule;
}

}  // namespace

std::string format_metadata(const AdapterRecord &record) {
    JsonWriter json;
    json.begin_object();
    json.member("method", get_method_name(record.selection.method));
    json.member("scope", find_word(scopes, record.selection.scope, "scope"));
    json.member("random", find_word(randoms, record.selection.random, "random"));
    json.member("density", record.selection.density);
    json.member("budget", record.selection.budget);
    json.member("rank", record.selection.rank);
    json.member("model_scalars", record.selection.model_scalars);
    json.member("seed", std::to_string(record.selection.seed));
    json.member("delta_type", find_word(delta_types, record.delta_type, "delta type"));
    json.member("optimizer", find_word(optimizers, record.optimizer.kind, "optimizer"));
    json.member("age", find_word(ages, record.optimizer.age, "age"));
    if (record.optimizer.state != SPEFT_STATE_FLOAT32)
        json.member("state", find_word(states, record.optimizer.state, "state"));
    if (record.selection.mean != SPEFT_MEAN_SIGNED)
        json.member("mean", find_word(means, record.selection.mean, "mean"));
    if (record.selection.approximation_rank != 0)
        json.member("approximation_rank", record.selection.approximation_rank);
    if (record.selection.threshold != 0) json.member("threshold", record.selection.threshold);
    write_schedule(json, record.selection.schedule);
    json.member("steps", record.steps);
    json.member("type", find_word(scalar_types, common_type(record), "type"));
    write_bases(json, record.bases);
    json.key("parameters");
    json.begin_array();
    for (const ParameterRecord &parameter : record.parameters)
        write_parameter(json, parameter, common_type(record));
    json.end_array();
    json.end_object();
    return json.take();
}

AdapterMetadata parse_metadata(const std::string &text) {
    const Json parsed = parse_json_object(text, "\"speft.adapter\"");
    const JsonObject adapter(parsed, "\"speft.adapter\"");
    AdapterMetadata metadata;
    AdapterRecord &record = metadata.record;
    record.selection.method = find_method_number(adapter);
    record.selection.scope = find_number(scopes, adapter, "scope");
    record.selection.random = find_number(randoms, adapter, "random");
    record.selection.density = adapter.number("density");
    record.selection.budget = adapter.size("budget");
    record.selection.rank = adapter.size("rank");
    record.selection.model_scalars = adapter.size("model_scalars");
    record.selection.seed = parse_seed(adapter.text("seed"));
    record.delta_type = find_number(delta_types, adapter, "delta_type");
    record.optimizer.kind = find_number(optimizers, adapter, "optimizer");
    record.optimizer.age = find_number(ages, adapter, "age");
    if (adapter.has("state")) record.optimizer.state = find_number(states, adapter, "state");
    if (adapter.has("mean")) record.selection.mean = find_number(means, adapter, "mean");
    if (adapter.has("approximation_rank"))
        record.selection.approximation_rank = adapter.size("approximation_rank");
    if (adapter.has("threshold")) record.selection.threshold = adapter.number("threshold");
    if (adapter.has("schedule")) record.selection.schedule = parse_schedule(adapter.object("schedule"));
    record.steps = adapter.size("steps");
    const std::int32_t common_type = find_number(scalar_types, adapter, "type");
    if (adapter.has("bases"))
        for (const Json &value : adapter.array("bases"))
            record.bases.push_back(parse_basis(JsonObject(value, "basis " + std::to_string(record.bases.size()))));
    std::vector<JsonObject> parameters;
    for (const Json &value : adapter.array("parameters")) {
        parameters.emplace_back(value, "parameter " + std::to_string(parameters.size()));
        record.parameters.push_back(parse_parameter(parameters.back(), common_type));
    }
    check_declarations(record);
    for (std::size_t i = 0; i < parameters.size(); ++i)
        metadata.counts.push_back(parse_count(parameters[i], record, i));
    return metadata;
}

}  // namespace speft
