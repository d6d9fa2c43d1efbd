#include "core/storage/adapter_metadata.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <limits>
#include <span>
#include <system_error>

#include "core/base/status.h"
#include "core/selection/method_name.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
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

constexpr Word scopes[] = {{SPEFT_SCOPE_GLOBAL, "global"}, {SPEFT_SCOPE_PER_TENSOR, "per-tensor"}};
constexpr Word randoms[] = {{SPEFT_RANDOM_EXACT, "exact"}, {SPEFT_RANDOM_BERNOULLI, "bernoulli"}};
constexpr Word ages[] = {{SPEFT_AGE_COMMON, "common"}, {SPEFT_AGE_PER_WEIGHT, "per-weight"}};
constexpr Word roles[] = {{SPEFT_ROLE_SPARSE, "sparse"}, {SPEFT_ROLE_DENSE, "dense"}};
constexpr Word optimizers[] = {
    {SPEFT_OPTIMIZER_ADAMW, "adamw"}, {SPEFT_OPTIMIZER_SGD, "sgd"},
    {SPEFT_OPTIMIZER_SM3, "sm3"},     {SPEFT_OPTIMIZER_LION, "lion"},
    {SPEFT_OPTIMIZER_ADAFACTOR, "adafactor"},
};
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
std::uint64_t parse_unsigned(const std::string &text, int base, const char *field) {
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (error != std::errc() || stop != end)
        throw Defect("\"" + std::string(field) + "\" must be a number of 64 bits in base " + std::to_string(base) +
                     ", got " + quote(text));
    return value;
}

constexpr std::size_t hash_digits = 16;

std::string format_hash(std::uint64_t hash) {
    char text[hash_digits + 1];
    std::snprintf(text, sizeof text, "%016" PRIx64, hash);
    return text;
}

std::uint64_t parse_hash(const std::string &text) {
    if (text.size() != hash_digits)
        throw Defect("\"base_hash\" must have " + std::to_string(hash_digits) + " digits, got " + quote(text));
    return parse_unsigned(text, 16, "base_hash");
}

nlohmann::ordered_json format_parameter(const ParameterRecord &parameter) {
    return {
        {"name", parameter.name},
        {"shape", parameter.shape},
        {"type", find_word(scalar_types, parameter.scalar_type, "type")},
        {"role", find_word(roles, parameter.role, "role")},
        {"group", parameter.group},
        {"base_hash", format_hash(parameter.base_hash)},
        {"count", parameter.deltas.size()},
    };
}

ParameterRecord parse_parameter(const JsonObject &parameter) {
    ParameterRecord record;
    record.name = parameter.text("name");
    record.shape = parameter.sizes("shape");
    record.scalar_type = find_number(scalar_types, parameter, "type");
    record.role = find_number(roles, parameter, "role");
    record.group =
        static_cast<std::int32_t>(parameter.size("group", std::numeric_limits<std::int32_t>::max()));
    record.base_hash = parse_hash(parameter.text("base_hash"));
    return record;
}

}  // namespace

std::string format_metadata(const AdapterRecord &record) {
    nlohmann::ordered_json adapter = {
        {"method", get_method_name(record.method)},
        {"scope", find_word(scopes, record.scope, "scope")},
        {"random", find_word(randoms, record.random, "random")},
        {"density", record.density},
        {"budget", record.budget},
        {"seed", std::to_string(record.seed)},
        {"optimizer", find_word(optimizers, record.optimizer, "optimizer")},
        {"age", find_word(ages, record.age, "age")},
        {"steps", record.steps},
        {"parameters", nlohmann::ordered_json::array()},
    };
    for (const ParameterRecord &parameter : record.parameters)
        adapter["parameters"].push_back(format_parameter(parameter));
    return adapter.dump();
}

AdapterMetadata parse_metadata(const std::string &text) {
    const nlohmann::json parsed = parse_json_object(text, "\"speft.adapter\"");
    const JsonObject adapter(parsed, "\"speft.adapter\"");
    AdapterMetadata metadata;
    AdapterRecord &record = metadata.record;
    record.method = find_method_number(adapter);
    record.scope = find_number(scopes, adapter, "scope");
    record.random = find_number(randoms, adapter, "random");
    record.density = adapter.number("density");
    record.budget = adapter.size("budget");
    record.seed = parse_unsigned(adapter.text("seed"), 10, "seed");
    record.optimizer = find_number(optimizers, adapter, "optimizer");
    record.age = find_number(ages, adapter, "age");
    record.steps = adapter.size("steps");
    for (const nlohmann::json &value : adapter.array("parameters")) {
        const JsonObject parameter(value, "parameter " + std::to_string(record.parameters.size()));
        record.parameters.push_back(parse_parameter(parameter));
        metadata.counts.push_back(static_cast<std::uint64_t>(parameter.size("count")));
    }
    check_declarations(record);
    return metadata;
}

}  // namespace speft
