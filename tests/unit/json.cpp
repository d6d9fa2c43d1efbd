// What the writer writes, letter by letter, and that the strict reader has it back.
#include "core/storage/json.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "core/storage/defect.h"
#include "core/storage/json_writer.h"

using namespace speft;

namespace {

template <class Value>
std::string write(const Value &value) {
    JsonWriter writer;
    writer.value(value);
    return writer.take();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(json)

BOOST_AUTO_TEST_CASE(containers_are_written_without_white_space) {
    JsonWriter writer;
    writer.begin_object();
    writer.member("none", std::vector<std::int64_t>());
    writer.member("", std::vector<std::int64_t>{1, -2});
    writer.key("objects");
    writer.begin_array();
    for (int i = 0; i < 2; ++i) {
        writer.begin_object();
        writer.end_object();
    }
    writer.end_array();
    writer.member("end", "]");
    writer.member("after", 0);
    writer.end_object();
    BOOST_TEST(writer.take() == R"({"none":[],"":[1,-2],"objects":[{},{}],"end":"]","after":0})");
}

BOOST_AUTO_TEST_CASE(doubles_have_the_fewest_digits_and_stay_doubles) {
    const std::pair<double, const char *> written[] = {
        {0.0, "0.0"},       {-0.0, "-0.0"},     {1.0, "1.0"},           {0.1, "0.1"},
        {0.0001, "0.0001"}, {0.00001, "1e-05"}, {5e-324, "5e-324"},     {1.0 / 3.0, "0.3333333333333333"},
        {1e300, "1e+300"},  {-0.125, "-0.125"}, {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
    };
    for (const auto &[number, text] : written) BOOST_TEST(write(number) == text);
}

BOOST_AUTO_TEST_CASE(integers_have_all_their_bits) {
    BOOST_TEST(write(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    BOOST_TEST(write(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
}

BOOST_AUTO_TEST_CASE(strings_are_escaped_where_json_asks_for_it) {
    using namespace std::string_view_literals;
    BOOST_TEST(write("a\"b\\c/d\x7f"sv) == "\"a\\\"b\\\\c/d\x7f\"");
    BOOST_TEST(write("\b\f\n\r\t"sv) == R"("\b\f\n\r\t")");
    BOOST_TEST(write("\0\x01\x1f"sv) == R"("\u0000\u0001\u001f")");
    BOOST_TEST(write("\u00e9\u20ac\U0001f600"sv) == "\"\u00e9\u20ac\U0001f600\"");
}

BOOST_AUTO_TEST_CASE(what_is_not_utf8_is_replaced) {
    BOOST_TEST(write("a\xff" "b\xe2\x82") == "\"a\ufffdb\ufffd\ufffd\"");
    const std::string cut = quote(std::string(119, 'a') + "\u20ac");
    BOOST_TEST(cut == "\"" + std::string(119, 'a') + "\ufffd...\"");
}

BOOST_AUTO_TEST_CASE(every_character_is_read_back) {
    std::string text;
    for (char character = 0; character < 0x7f; ++character) text += character;
    text += "\u00e9\u20ac\U0001f600";
    JsonWriter writer;
    writer.begin_object();
    writer.member(text, text);
    writer.end_object();
    const Json parsed = parse_json_object(writer.take(), "it");
    const JsonObject object(parsed, "it");
    BOOST_REQUIRE_EQUAL(object.members().size(), 1u);
    BOOST_TEST(object.members()[0].key == text);
    BOOST_TEST(std::get<std::string>(object.members()[0].value.value) == text);
}

BOOST_AUTO_TEST_CASE(members_are_found_whatever_their_order) {
    const Json parsed = parse_json_object(R"({"b":1,"c":-2,"a":2.5,"\u0061a":[3],"":"x"})", "it");
    const JsonObject object(parsed, "it");
    BOOST_TEST(object.size("b") == 1);
    BOOST_TEST(object.number("b") == 1.0);
    BOOST_TEST(object.number("c") == -2.0);
    BOOST_TEST(object.number("a") == 2.5);
    BOOST_TEST(object.sizes("aa") == std::vector<std::int64_t>{3}, boost::test_tools::per_element());
    BOOST_TEST(object.text("") == "x");
    BOOST_TEST(!object.has("ab"));
    BOOST_TEST(!object.has("d"));
    BOOST_CHECK_THROW(object.size("c"), Defect);
    BOOST_CHECK_THROW(object.size("b", 0), Defect);
    BOOST_CHECK_THROW(object.text("d"), Defect);
}

BOOST_AUTO_TEST_CASE(nothing_is_no_value) {
    const Json parsed = parse_json_object(R"({"a":null,"b":true,"c":false})", "it");
    const JsonObject object(parsed, "it");
    for (const char *key : {"a", "b", "c"}) {
        BOOST_TEST(object.has(key));
        BOOST_CHECK_THROW(object.text(key), Defect);
        BOOST_CHECK_THROW(object.number(key), Defect);
        BOOST_CHECK_THROW(object.array(key), Defect);
    }
}

BOOST_AUTO_TEST_SUITE_END()
