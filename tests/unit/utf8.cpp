// Every code point in its one shortest form is UTF-8; every other form is not.
#include "core/base/utf8.h"

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>

using namespace speft;

namespace {

// The bit pattern of a code point in `length` bytes, shortest or not (RFC 3629, section 3).
std::string encode(std::uint32_t code, int length) {
    if (length == 1) return std::string(1, static_cast<char>(code));
    std::string text(static_cast<std::size_t>(length), '\0');
    for (int at = length - 1; at > 0; --at, code >>= 6)
        text[static_cast<std::size_t>(at)] = static_cast<char>(0x80 | (code & 0x3f));
    text[0] = static_cast<char>((0xf00 >> length & 0xff) | code);
    return text;
}

int shortest(std::uint32_t code) { return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; }

}  // namespace

BOOST_AUTO_TEST_SUITE(utf8)

BOOST_AUTO_TEST_CASE(takes_the_shortest_form_of_each_code_point_and_no_other) {
    for (std::uint32_t code = 0; code < 0x1fffff; code += code < 0x11000 ? 1 : 251) {
        const bool valid = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        BOOST_REQUIRE_EQUAL(is_utf8(encode(code, shortest(code))), valid);
        for (int length = shortest(code) + 1; length <= 4; ++length)
            BOOST_REQUIRE(!is_utf8(encode(code, length)));
    }
}

BOOST_AUTO_TEST_CASE(refuses_what_is_cut_off_or_out_of_place) {
    for (const std::uint32_t code : {0xe9u, 0x20acu, 0x1f600u}) {
        const std::string whole = encode(code, shortest(code));
        for (std::size_t length = 1; length < whole.size(); ++length) {
            BOOST_TEST(!is_utf8(whole.substr(0, length)));
            BOOST_TEST(!is_utf8(whole.substr(0, length) + "a"));
            BOOST_TEST(!is_utf8(whole.substr(length)));
        }
    }
    BOOST_TEST(!is_utf8("\xff"));
    BOOST_TEST(is_utf8(""));
}

BOOST_AUTO_TEST_SUITE_END()
