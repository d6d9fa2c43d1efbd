// JSON from strangers: parsed strictly, in time and memory linear in its length, and read through accessors that
// check. What is wrong is thrown as Defect.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace speft {

// One object and nothing around it but white space. Duplicate keys, invalid UTF-8 and nesting deeper than any of our
// headers are refused. `where` names the text in messages.
nlohmann::json parse_json_object(std::string_view text, const std::string &where);

// For messages: what a file says may be of any length.
std::string shorten(std::string_view text);

// Shortened, in quotes, with control characters and invalid UTF-8 made harmless.
std::string quote(std::string_view text);

// A view on an object, with the words that name it in messages.
class JsonObject {
public:
    JsonObject(const nlohmann::json &value, std::string where);

    bool has(const char *key) const { return value_.contains(key); }
    const std::string &text(const char *key) const;
    double number(const char *key) const;
    // An integer in [0, limit].
    std::int64_t size(const char *key, std::int64_t limit = std::numeric_limits<std::int64_t>::max()) const;
    std::vector<std::int64_t> sizes(const char *key) const;
    const nlohmann::json &array(const char *key) const;

private:
    const nlohmann::json &member(const char *key) const;
    [[noreturn]] void expected(const char *key, const std::string &what) const;

    const nlohmann::json &value_;
    std::string where_;
};

}  // namespace speft
