#include "core/storage/mask_code.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "core/storage/defect.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

using Bytes = std::vector<std::uint8_t>;
using Indices = std::vector<std::uint32_t>;

std::vector<std::byte> to_code(const Bytes &bytes) {
    std::vector<std::byte> code;
    for (const std::uint8_t byte : bytes) code.push_back(std::byte{byte});
    return code;
}

struct Example {
    std::uint64_t size;
    Indices indices;
    Bytes code;
};

// Written by hand from the definition in docs/file-format.md: the low bits, then the high ones in unary.
const Example examples[] = {
    {0, {}, {}},
    {1000, {}, {}},
    {1, {0}, {0b1}},
    {3, {0, 1, 2}, {0b10101}},                       // no low bits: 1 + 0 + 1 + 0 + 1
    {4, {2}, {0b10, 0b1}},                           // 2 low bits: 10; high 0: 1
    {7, {3}, {0b11, 0b01}},                          // room for high 1, which is not there
    {7, {6}, {0b10, 0b10}},                          // high 1: 0, 1
    {16, {1, 4, 15}, {0b11'00'01, 0b100101}},        // lows 01, 00, 11; highs 0, 1, 3
    {80000, {1, 65537}, {1, 0x80, 0, 0, 0b1001}},    // 15 low bits: 1 and 1; highs 0, 2
};

// The same code, one bit after the other.
std::string encode_as_text(const Indices &indices, std::uint64_t size) {
    if (indices.empty()) return "";
    int width = 0;
    while ((indices.size() << (width + 1)) <= size) ++width;
    std::string low, high;
    std::uint64_t zeros = 0;
    for (const std::uint32_t index : indices) {
        for (int bit = 0; bit < width; ++bit) low += index >> bit & 1 ? '1' : '0';
        for (; zeros < index >> width; ++zeros) high += '0';
        high += '1';
    }
    for (; zeros < (size - 1) >> width; ++zeros) high += '0';
    for (std::string *part : {&low, &high}) part->resize((part->size() + 7) / 8 * 8, '0');
    return low + high;
}

std::string to_text(const std::vector<std::byte> &code) {
    std::string text;
    for (const std::byte byte : code)
        for (int bit = 0; bit < 8; ++bit) text += std::to_integer<int>(byte >> bit) & 1 ? '1' : '0';
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mask_code)

BOOST_AUTO_TEST_CASE(agrees_with_the_definition_both_ways) {
    for (const Example &example : examples) {
        const std::vector<std::byte> code = to_code(example.code);
        BOOST_CHECK_EQUAL(get_mask_code_size(example.indices.size(), example.size), code.size());
        BOOST_CHECK(encode_mask(example.indices, example.size) == code);
        BOOST_CHECK(decode_mask(code, example.indices.size(), example.size) == example.indices);
    }
}

BOOST_AUTO_TEST_CASE(random_masks_of_all_densities_agree_with_the_bit_by_bit_code) {
    Draws draws(1);
    for (int round = 0; round < 300; ++round) {
        const std::uint64_t size = 1 + draws.below(std::uint64_t{1} << (1 + draws.below(18)));
        const auto count = static_cast<std::uint32_t>(draws.below(std::min<std::uint64_t>(size, 300) + 1));
        const Indices indices = draw_mask(draws, static_cast<std::uint32_t>(size), count);
        const std::vector<std::byte> code = encode_mask(indices, size);
        BOOST_CHECK_EQUAL(to_text(code), encode_as_text(indices, size));
        BOOST_CHECK_EQUAL(get_mask_code_size(count, size), code.size());
        BOOST_CHECK(decode_mask(code, count, size) == indices);
    }
}

BOOST_AUTO_TEST_CASE(the_largest_parameters_round_trip) {
    const Indices masks[] = {{0}, {4294967294}, {0, 4294967294}, {4294967292, 4294967293, 4294967294}};
    for (const Indices &indices : masks)
        BOOST_CHECK(decode_mask(encode_mask(indices, 4294967295), indices.size(), 4294967295) == indices);
    Indices all(100000);
    for (std::uint32_t i = 0; i < all.size(); ++i) all[i] = i;
    BOOST_CHECK(decode_mask(encode_mask(all, all.size()), all.size(), all.size()) == all);
}

// The entropy of a random mask is the least that any code can take on average. At densities below some percent Elias
// and Fano's takes at most 0.56 bits an index more; both parts are filled up to whole bytes.
BOOST_AUTO_TEST_CASE(takes_little_more_than_the_entropy) {
    constexpr double size = 1e6;
    for (double density = 0.02; density > 1e-4; density *= 0.9) {
        const auto count = static_cast<std::uint64_t>(size * density);
        const double d = static_cast<double>(count) / size;
        const double entropy = size * (-d * std::log2(d) - (1 - d) * std::log2(1 - d));
        const double bits = 8.0 * static_cast<double>(get_mask_code_size(count, 1000000));
        BOOST_CHECK_GE(bits, entropy);
        BOOST_CHECK_LE(bits, entropy + 0.57 * static_cast<double>(count) + 16);
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_code_is_refused) {
    const auto refused = [](const Bytes &bytes, std::uint64_t count, std::uint64_t size, const std::string &words) {
        BOOST_REQUIRE_EQUAL(get_mask_code_size(count, size), bytes.size());
        try {
            decode_mask(to_code(bytes), count, size);
        } catch (const Defect &defect) {
            BOOST_CHECK_MESSAGE(std::string(defect.what()).find(words) != std::string::npos, defect.what());
            return;
        }
        BOOST_ERROR("nothing was refused; expected \"" << words << "\"");
    };
    refused({0b11'00'01, 0b000101}, 3, 16, "has 2 indices, expected 3");
    refused({0b11'00'01, 0b110101}, 3, 16, "more than 3 indices");
    refused({0b11'00'01, 0b1100101}, 3, 16, "behind its end");   // a seventh high bit
    refused({0b1'11'00'01, 0b100101}, 3, 16, "behind its end");  // a seventh low bit
    refused({0b11'01'01, 0b100011}, 3, 16, "must rise");         // 1, 1
    refused({0b11'00'01, 0b100011}, 3, 16, "must rise");         // 1, 0
    refused({0b11, 0b10}, 1, 7, "index 7 of a mask must rise and stay below 7");
    refused({0}, 1, 1, "has 0 indices, expected 1");
    BOOST_CHECK_NO_THROW(decode_mask(to_code({0b10, 0b10}), 1, 7));
}

// Every string of bits is one mask's code, or refused: no mask has two.
BOOST_AUTO_TEST_CASE(each_mask_has_one_code) {
    constexpr std::uint64_t size = 7;
    for (std::uint64_t count = 1; count <= size; ++count) {
        const std::uint64_t bytes = get_mask_code_size(count, size);
        std::uint64_t valid = 0;
        for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 8 * bytes; ++bits) {
            std::vector<std::byte> code(bytes);
            for (std::uint64_t i = 0; i < bytes; ++i) code[i] = static_cast<std::byte>(bits >> 8 * i);
            try {
                const Indices indices = decode_mask(code, count, size);
                BOOST_REQUIRE(encode_mask(indices, size) == code);
                ++valid;
            } catch (const Defect &) {
                continue;
            }
        }
        std::uint64_t masks = 1;  // size over count
        for (std::uint64_t i = 0; i < count; ++i) masks = masks * (size - i) / (i + 1);
        BOOST_CHECK_EQUAL(valid, masks);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
