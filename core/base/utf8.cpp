#include "core/base/utf8.h"

namespace speft {

bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at]);
        const int length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3
                           : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
        if (length == 0 || at + static_cast<std::size_t>(length) > text.size()) return false;
        for (int next = 1; next < length; ++next)
            if ((static_cast<unsigned char>(text[at + static_cast<std::size_t>(next)]) & 0xc0) != 0x80) return false;
        const auto second = length > 1 ? static_cast<unsigned char>(text[at + 1]) : 0;
        // Overlong forms, surrogates, and beyond U+10FFFF.
        if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
            (lead == 0xf4 && second > 0x8f))
            return false;
        at += static_cast<std::size_t>(length);
    }
    return true;
}

}  // namespace speft
