// Whether text is UTF-8: shortest forms only, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <string_view>

namespace speft {

bool is_utf8(std::string_view text);

}  // namespace speft
