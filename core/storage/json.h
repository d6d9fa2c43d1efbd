// JSON from strangers: parsed strictly, in time and memory that hardly grow faster than its length, and read through
// accessors that check. What is wrong is thrown as Defect.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace speft {

struct Json;
struct JsonMember;
using JsonArray = std::vector<Json>;
using JsonMembers = std::vector<JsonMember>;  // by key, each key once

// A parsed value. Destroying it needs no memory, which the parser library's own values cannot say: one is destroyed
// when memory runs out while it grows.
struct Json {
    // An integer is the unsigned alternative unless it is negative or too large. No header of ours has a null, a true
    // or a false: they are nothing.
    std::variant<std::monostate, std::uint64_t, double, std::string, JsonArray, JsonMembers> value;
};

struct JsonMember {
    std::string key;
    Json value;
};

// One object and nothing around it but white space. Duplicate keys, invalid UTF-8 and nesting deeper than any of our
// headers are refused. `where` names the text in messages.
Json parse_json_object(std::string_view text, const std::string &where);

// For messages: what a file says may be of any length.
std::string shorten(std::string_view text);

// Shortened, in quotes, with control characters and invalid UTF-8 made harmless.
std::string quote(std::string_view text);

// A view on an object, with the words that name it in messages.
class JsonObject {
public:
    JsonObject(const Json &value, std::string where);

    const JsonMembers &members() const { return members_; }
    bool has(const char *key) const { return find(key) != nullptr; }
    const std::string &text(const char *key) const;
    double number(const char *key) const;
    // An integer in [0, limit].
    std::int64_t size(const char *key, std::int64_t limit = std::numeric_limits<std::int64_t>::max()) const;
    std::vector<std::int64_t> sizes(const char *key) const;
    const JsonArray &array(const char *key) const;
    JsonObject object(const char *key) const;

private:
    const Json *find(std::string_view key) const;
    // The member when it is of that type.
    template <class Type>
    const Type *find_as(const char *key) const;
    [[noreturn]] void expected(const char *key, const std::string &what) const;

    std::string where_;
    const JsonMembers &members_;
};

}  // namespace speft
