#include "core/storage/json.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/storage/defect.h"
#include "core/storage/json_writer.h"

namespace speft {

namespace {

// Deeper than the headers go: the adapter, its parameters, a parameter, its shape.
constexpr std::size_t deepest = 8;

// Builds our values from what the library's parser finds.
class StrictBuilder final : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit StrictBuilder(const std::string &where) : where_(where) {}

    Json take() { return std::move(root_); }

    bool null() override { return add(std::monostate()); }
    bool boolean(bool) override { return add(std::monostate()); }
    bool number_integer(number_integer_t value) override { return add(static_cast<double>(value)); }  // negative
    bool number_unsigned(number_unsigned_t value) override { return add(std::uint64_t{value}); }
    bool number_float(number_float_t value, const string_t &) override { return add(value); }
    bool string(string_t &value) override { return add(std::move(value)); }
    bool binary(binary_t &) override { return false; }  // never called: text has none

    bool start_object(std::size_t) override { return open<JsonMembers>(); }
    bool start_array(std::size_t) override { return open<JsonArray>(); }

    bool key(string_t &name) override {
        std::get<JsonMembers>(open_.back()->value).push_back({std::move(name), {}});
        return true;
    }

    bool end_object() override {
        JsonMembers &members = std::get<JsonMembers>(open_.back()->value);
        std::ranges::sort(members, {}, &JsonMember::key);
        const auto twice = std::ranges::adjacent_find(members, {}, &JsonMember::key);
        if (twice != members.end()) throw Defect(where_ + " has the key " + quote(twice->key) + " twice");
        open_.pop_back();
        return true;
    }

    bool end_array() override {
        open_.pop_back();
        return true;
    }

    bool parse_error(std::size_t position, const std::string &, const nlohmann::json::exception &) override {
        throw Defect(where_ + " is not JSON: wrong at byte " + std::to_string(position) + " of it");
    }

private:
    template <class Value>
    bool add(Value value) {
        next().value.emplace<Value>(std::move(value));
        return true;
    }

    template <class Container>
    bool open() {
        if (open_.size() == deepest)
            throw Defect(where_ + " is nested more than " + std::to_string(deepest) + " deep");
        Json &opened = next();
        opened.value.emplace<Container>();
        open_.push_back(&opened);
        return true;
    }

    // Where the next value goes. References stay valid: only the innermost open value grows.
    Json &next() {
        if (open_.empty()) return root_;
        if (auto *array = std::get_if<JsonArray>(&open_.back()->value)) return array->emplace_back();
        return std::get<JsonMembers>(open_.back()->value).back().value;
    }

    const std::string &where_;
    Json root_;
    std::vector<Json *> open_;
};

const JsonMembers &require_members(const Json &value, const std::string &where) {
    if (const auto *members = std::get_if<JsonMembers>(&value.value)) return *members;
    throw Defect(where + " is not a JSON object");
}

}  // namespace

Json parse_json_object(std::string_view text, const std::string &where) {
    if (!text.starts_with('{')) throw Defect(where + " is not a JSON object");
    // The parser takes a NUL for the end of its input and would not look at what follows.
    if (text.find('\0') != text.npos) throw Defect(where + " is not JSON: it contains a NUL");
    StrictBuilder builder(where);
    nlohmann::json::sax_parse(text, &builder);
    return builder.take();
}

std::string shorten(std::string_view text) {
    constexpr std::size_t longest = 120;
    return std::string(text.substr(0, longest)) + (text.size() > longest ? "..." : "");
}

std::string quote(std::string_view text) {
    JsonWriter writer;
    writer.value(shorten(text));
    return writer.take();
}

JsonObject::JsonObject(const Json &value, std::string where)
    : where_(std::move(where)), members_(require_members(value, where_)) {}

const std::string &JsonObject::text(const char *key) const {
    if (const auto *text = find_as<std::string>(key)) return *text;
    expected(key, "a string");
}

double JsonObject::number(const char *key) const {
    if (const auto *number = find_as<double>(key)) return *number;
    if (const auto *integer = find_as<std::uint64_t>(key)) return static_cast<double>(*integer);
    expected(key, "a number");
}

std::int64_t JsonObject::size(const char *key, std::int64_t limit) const {
    const auto *size = find_as<std::uint64_t>(key);
    if (size && *size <= static_cast<std::uint64_t>(limit)) return static_cast<std::int64_t>(*size);
    expected(key, "an integer in [0, " + std::to_string(limit) + "]");
}

std::vector<std::int64_t> JsonObject::sizes(const char *key) const {
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    std::vector<std::int64_t> sizes;
    for (const Json &element : array(key)) {
        const auto *size = std::get_if<std::uint64_t>(&element.value);
        if (!size || *size > limit) expected(key, "an array of integers in [0, " + std::to_string(limit) + "]");
        sizes.push_back(static_cast<std::int64_t>(*size));
    }
    return sizes;
}

const JsonArray &JsonObject::array(const char *key) const {
    if (const auto *array = find_as<JsonArray>(key)) return *array;
    expected(key, "an array");
}

JsonObject JsonObject::object(const char *key) const {
    const Json *const found = find(key);
    if (!found) expected(key, "an object");
    return JsonObject(*found, quote(key) + " of " + where_);
}

const Json *JsonObject::find(std::string_view key) const {
    const auto found = std::ranges::lower_bound(members_, key, {}, &JsonMember::key);
    return found != members_.end() && found->key == key ? &found->value : nullptr;
}

template <class Type>
const Type *JsonObject::find_as(const char *key) const {
    const Json *value = find(key);
    if (!value) throw Defect(where_ + " has no \"" + key + "\"");
    return std::get_if<Type>(&value->value);
}

void JsonObject::expected(const char *key, const std::string &what) const {
    throw Defect("\"" + std::string(key) + "\" of " + where_ + " must be " + what);
}

}  // namespace speft
