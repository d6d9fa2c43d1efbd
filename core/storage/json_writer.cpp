#include "core/storage/json_writer.h"

#include <charconv>
#include <cstddef>
#include <cstdio>

#include "core/base/utf8.h"

namespace speft {

namespace {

void append_ascii(std::string &text, char character) {
    switch (character) {
        case '"': text += "\\\""; return;
        case '\\': text += "\\\\"; return;
        case '\b': text += "\\b"; return;
        case '\f': text += "\\f"; return;
        case '\n': text += "\\n"; return;
        case '\r': text += "\\r"; return;
        case '\t': text += "\\t"; return;
    }
    if (static_cast<unsigned char>(character) >= 0x20) {
        text += character;
        return;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(character));
    text += escaped;
}

}  // namespace

void JsonWriter::key(std::string_view name) {
    value(name);
    text_ += ':';
}

void JsonWriter::value(std::string_view text) {
    separate();
    text_ += '"';
    while (!text.empty()) {
        const std::size_t length = measure_character(text);
        if (length == 1)
            append_ascii(text_, text.front());
        else
            text_ += length == 0 ? "\xef\xbf\xbd" : text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    text_ += '"';
}

void JsonWriter::value(double number) {
    separate();
    char digits[32];  // the longest is -2.2250738585072014e-308
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number, std::chars_format::general);
    const std::string_view written(digits, end);
    text_ += written;
    if (written.find_first_of(".e") == written.npos) text_ += ".0";
}

void JsonWriter::value(std::span<const std::int64_t> numbers) {
    begin_array();
    for (const std::int64_t number : numbers) value(number);
    end_array();
}

void JsonWriter::separate() {
    constexpr std::string_view openers = "{[:";
    if (!text_.empty() && openers.find(text_.back()) == openers.npos) text_ += ',';
}

}  // namespace speft
