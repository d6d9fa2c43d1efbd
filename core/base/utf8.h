// UTF-8: shortest forms only, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace speft {

// How many bytes the character has that `text` begins with; 0 where it begins with none.
std::size_t measure_character(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace speft
