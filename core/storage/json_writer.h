// JSON text from front to back, without white space. Members stand in the order in which they come.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace speft {

class JsonWriter {
public:
    void begin_object() { begin('{'); }
    void end_object() { text_ += '}'; }
    void begin_array() { begin('['); }
    void end_array() { text_ += ']'; }
    // Of the member whose value comes next.
    void key(std::string_view name);

    // In quotes. Control characters are escaped; each byte that is not UTF-8 becomes U+FFFD.
    void value(std::string_view text);
    void value(std::integral auto number) {
        separate();
        text_ += std::to_string(number);
    }
    // Finite. The fewest digits that are read as the same bits, and always with a point or an exponent.
    void value(double number);
    void value(std::span<const std::int64_t> numbers);

    template <class Value>
    void member(std::string_view name, const Value &content) {
        key(name);
        value(content);
    }

    std::string take() { return std::move(text_); }

private:
    void begin(char bracket) {
        separate();
        text_ += bracket;
    }
    // Writes the comma, unless what comes is the first of its container or the value of a key.
    void separate();

    std::string text_;
};

}  // namespace speft
