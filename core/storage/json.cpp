#include "core/storage/json.h"

#include <utility>

#include "core/storage/defect.h"

namespace speft {

namespace {

using Json = nlohmann::json;

// Deeper than the headers go: the adapter, its parameters, a parameter, its shape.
constexpr std::size_t deepest = 8;

// Builds the document. (The library's own builder keeps the last of duplicate keys; with a callback it takes time
// quadratic in the number of members.)
class StrictBuilder final : public nlohmann::json_sax<Json> {
public:
    explicit StrictBuilder(const std::string &where) : where_(where) {}

    Json take() { return std::move(root_); }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t &) override { return add(value); }
    bool string(string_t &value) override { return add(std::move(value)); }
    bool binary(binary_t &) override { return false; }  // never called: text has none

    bool start_object(std::size_t) override { return open(Json::object()); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t &name) override {
        const auto [place, fresh] = open_.back()->get_ref<Json::object_t &>().try_emplace(std::move(name));
        if (!fresh) throw Defect(where_ + " has the key " + quote(place->first) + " twice");
        member_ = &place->second;
        return true;
    }

    bool parse_error(std::size_t position, const std::string &, const Json::exception &) override {
        throw Defect(where_ + " is not JSON: wrong at byte " + std::to_string(position) + " of it");
    }

private:
    template <class Value>
    bool add(Value &&value) {
        place(std::forward<Value>(value));
        return true;
    }

    // References stay valid: only the innermost open value grows.
    Json &place(Json value) {
        if (open_.empty()) return root_ = std::move(value);
        if (open_.back()->is_object()) return *member_ = std::move(value);
        return open_.back()->get_ref<Json::array_t &>().emplace_back(std::move(value));
    }

    bool open(Json container) {
        if (open_.size() == deepest)
            throw Defect(where_ + " is nested more than " + std::to_string(deepest) + " deep");
        open_.push_back(&place(std::move(container)));
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    const std::string &where_;
    Json root_;
    std::vector<Json *> open_;
    Json *member_ = nullptr;
};

}  // namespace

Json parse_json_object(std::string_view text, const std::string &where) {
    if (!text.starts_with('{')) throw Defect(where + " is not a JSON object");
    // The parser takes a NUL for the end of its input and would not look at what follows.
    if (text.find('\0') != text.npos) throw Defect(where + " is not JSON: it contains a NUL");
    StrictBuilder builder(where);
    Json::sax_parse(text, &builder);
    return builder.take();
}

std::string shorten(std::string_view text) {
    constexpr std::size_t longest = 120;
    return std::string(text.substr(0, longest)) + (text.size() > longest ? "..." : "");
}

std::string quote(std::string_view text) {
    return Json(shorten(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

JsonObject::JsonObject(const Json &value, std::string where) : value_(value), where_(std::move(where)) {
    if (!value_.is_object()) throw Defect(where_ + " is not a JSON object");
}

const std::string &JsonObject::text(const char *key) const {
    const Json &value = member(key);
    if (!value.is_string()) expected(key, "a string");
    return value.get_ref<const std::string &>();
}

double JsonObject::number(const char *key) const {
    const Json &value = member(key);
    if (!value.is_number()) expected(key, "a number");
    return value.get<double>();
}

std::int64_t JsonObject::size(const char *key, std::int64_t limit) const {
    const Json &value = member(key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(limit))
        expected(key, "an integer in [0, " + std::to_string(limit) + "]");
    return value.get<std::int64_t>();
}

std::vector<std::int64_t> JsonObject::sizes(const char *key) const {
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    std::vector<std::int64_t> sizes;
    for (const Json &size : array(key)) {
        if (!size.is_number_unsigned() || size.get<std::uint64_t>() > limit)
            expected(key, "an array of integers in [0, " + std::to_string(limit) + "]");
        sizes.push_back(size.get<std::int64_t>());
    }
    return sizes;
}

const Json &JsonObject::array(const char *key) const {
    const Json &value = member(key);
    if (!value.is_array()) expected(key, "an array");
    return value;
}

const Json &JsonObject::member(const char *key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) throw Defect(where_ + " has no \"" + key + "\"");
    return *found;
}

void JsonObject::expected(const char *key, const std::string &what) const {
    throw Defect("\"" + std::string(key) + "\" of " + where_ + " must be " + what);
}

}  // namespace speft
