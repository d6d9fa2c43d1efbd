// Files that are damaged, foreign or made to do harm: reading one either gives a consistent record or fails with a
// status and a reason.
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <sys/stat.h>

#include "core/storage/adapter_file.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

std::string pack(std::uint64_t length) {
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes;
}

std::string make_container(const std::string &header, const std::string &data = {}) {
    return pack(header.size()) + header + data;
}

// `text` as the inside of a JSON string.
std::string escape(const std::string &text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '"' || c == '\\') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

// A small adapter in its parts, each of which a test may spoil.
struct Parts {
    std::string format = R"("speft.format":"1",)";
    std::string options = R"("method":"random","scope":"global","random":"exact","density":0.5,"budget":0,)"
                          R"("seed":"7","optimizer":"adamw","age":"common","steps":3,)";
    std::string sparse = R"({"name":"w","shape":[2,3],"type":"float32","role":"sparse","group":0,)"
                         R"("base_hash":"0123456789abcdef","count":2})";
    std::string dense = R"({"name":"b","shape":[1],"type":"bfloat16","role":"dense","group":0,)"
                        R"("base_hash":"0000000000000000","count":1})";
    std::string tensors = R"("w.deltas":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("b.values":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                          R"("w.gaps":{"dtype":"U16","shape":[2],"data_offsets":[12,16]})";
    std::string data = std::string("\0\0\x80\x3f\0\0\0\x40\0\0\0\x3f", 12) + std::string("\1\0\2\0", 4);

    std::string file() const {
        const std::string adapter = "{" + options + R"("parameters":[)" + sparse + "," + dense + "]}";
        return make_container(R"({"__metadata__":{)" + format + R"("speft.adapter":")" + escape(adapter) + "\"}," +
                                  tensors + "}",
                              data);
    }
};

// Replaces the one place where `from` stands.
void edit(std::string &text, const std::string &from, const std::string &to) {
    const std::size_t at = text.find(from);
    BOOST_REQUIRE_MESSAGE(at != text.npos && text.find(from, at + 1) == text.npos, from << " is not there once");
    text.replace(at, from.size(), to);
}

class Reader {
public:
    AdapterRecord read(const std::string &bytes) const {
        // A new file each time: some file systems flush to the disk what replaces the content of an old one.
        std::filesystem::remove(path_);
        write_bytes(path_, bytes);
        return read_adapter_file(path_);
    }

    void expect_corrupt(const std::string &words, const std::string &bytes) const {
        expect_failure(SPEFT_CORRUPT, words, [&] { read(bytes); });
        expect_failure(SPEFT_CORRUPT, "'" + path_ + "'", [&] { read_adapter_file(path_); });
    }

    // True when it was read.
    bool survive(const std::string &bytes) const {
        try {
            const AdapterRecord record = read(bytes);
            BOOST_CHECK_NO_THROW(check_record(record));
            return true;
        } catch (const Failure &failure) {
            BOOST_CHECK(failure.status() == SPEFT_CORRUPT || failure.status() == SPEFT_UNSUPPORTED);
            return false;
        }
    }

private:
    TemporaryFolder folder_;
    std::string path_ = folder_ / "a.safetensors";
};

// Refused with these words after one edit of one part.
void expect_spoiled(std::string Parts::*part, const std::string &from, const std::string &to,
                    const std::string &words) {
    BOOST_TEST_CONTEXT(from << " -> " << to) {
        Parts parts;
        edit(parts.*part, from, to);
        Reader().expect_corrupt(words, parts.file());
    }
}

std::string make_valid_file() {
    const TemporaryFolder folder;
    write_adapter_file(make_record(1), folder / "a", nullptr);
    return read_bytes(folder / "a");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hostile_file)

BOOST_AUTO_TEST_CASE(the_sample_that_the_tests_below_spoil_is_read) {
    const AdapterRecord record = Reader().read(Parts().file());
    BOOST_REQUIRE_EQUAL(record.parameters.size(), 2u);
    const ParameterRecord &w = record.parameters[0], &b = record.parameters[1];
    BOOST_CHECK_EQUAL(record.method, SPEFT_SELECT_RANDOM);
    BOOST_CHECK_EQUAL(record.density, 0.5);
    BOOST_CHECK_EQUAL(record.seed, 7u);
    BOOST_CHECK_EQUAL(record.steps, 3);
    BOOST_CHECK_EQUAL(w.name, "w");
    BOOST_CHECK_EQUAL(w.base_hash, 0x0123456789abcdefu);
    BOOST_CHECK((w.indices == std::vector<std::uint32_t>{1, 4}));
    BOOST_CHECK((w.deltas == std::vector<float>{1.0f, 2.0f}));
    BOOST_CHECK_EQUAL(b.role, SPEFT_ROLE_DENSE);
    BOOST_CHECK_EQUAL(b.scalar_type, SPEFT_SCALAR_BFLOAT16);
    BOOST_CHECK((b.deltas == std::vector<float>{0.5f}));
}

// Other writers put keys and tensors in another order, add spaces, and use other escapes.
BOOST_AUTO_TEST_CASE(another_writers_layout_is_read) {
    Parts parts;
    parts.tensors = R"( "w.gaps" : {"data_offsets":[4,8],"shape":[2],"dtype":"U16"},)"
                    R"("\u0062.values":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                    R"("w.deltas":{"dtype":"F32","shape":[2],"data_offsets":[8,16]} )";
    parts.data = parts.data.substr(8, 4) + parts.data.substr(12, 4) + parts.data.substr(0, 8);
    BOOST_CHECK(same(Reader().read(parts.file()), Reader().read(Parts().file())));
}

BOOST_AUTO_TEST_CASE(cut_at_every_byte) {
    const std::string whole = make_valid_file();
    const Reader reader;
    for (std::size_t length = 0; length < whole.size(); ++length)
        expect_failure(SPEFT_CORRUPT, "cannot load", [&] { reader.read(whole.substr(0, length)); });
    reader.expect_corrupt("bytes of data follow the header", whole + '\0');
}

BOOST_AUTO_TEST_CASE(every_bit_of_the_header_flipped) {
    const std::string whole = make_valid_file();
    std::uint64_t header = 0;
    std::memcpy(&header, whole.data(), sizeof header);
    const Reader reader;
    int refused = 0;
    for (std::size_t at = 0; at < sizeof header + header; ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            refused += !reader.survive(damaged);
        }
    }
    BOOST_CHECK_GE(refused, 64);  // a wrong header length is always noticed; what it says need not be
}

BOOST_AUTO_TEST_CASE(bytes_of_the_data_replaced) {
    const std::string whole = make_valid_file();
    std::uint64_t header = 0;
    std::memcpy(&header, whole.data(), sizeof header);
    const std::size_t begin = sizeof header + header;
    Draws draws(12);
    const Reader reader;
    int read = 0, refused = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string damaged = whole;
        damaged[begin + draws.below(whole.size() - begin)] = static_cast<char>(draws.below(256));
        ++(reader.survive(damaged) ? read : refused);
    }
    BOOST_CHECK_GT(read, 0);     // another delta is as good as the true one
    BOOST_CHECK_GT(refused, 0);  // another gap moves indices out of the parameter
}

BOOST_AUTO_TEST_CASE(containers_that_are_none) {
    const Reader reader;
    reader.expect_corrupt("too few", "");
    reader.expect_corrupt("too few", "1234567");
    reader.expect_corrupt("header", pack(~0ull));
    reader.expect_corrupt("header", pack(1ull << 63) + "{}");
    reader.expect_corrupt("at most 2", pack(3) + "{}");
    reader.expect_corrupt("not a JSON object", pack(0));
    reader.expect_corrupt("not a JSON object", make_container("[]"));
    reader.expect_corrupt("not a JSON object", make_container("\xef\xbb\xbf{}"));
    reader.expect_corrupt("not JSON", make_container("{"));
    reader.expect_corrupt("not JSON", make_container("{}}"));
    reader.expect_corrupt("not JSON", make_container(R"({"a":1e999})"));
    reader.expect_corrupt("not JSON", make_container("{\"a\xff\":1}"));
    reader.expect_corrupt("NUL", make_container(std::string("{}\0}", 4)));
    reader.expect_corrupt("nested", make_container("{\"a\":" + std::string(1000000, '[')));
    std::string deep = "{\"a\":";
    for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
    reader.expect_corrupt("nested", make_container(deep));
    reader.expect_corrupt("not a libspeft adapter", make_container("{}"));
    reader.expect_corrupt("must be an object", make_container(R"({"__metadata__":[]})"));
    reader.expect_corrupt("must be a string", make_container(R"({"__metadata__":{"a":1}})"));
    reader.expect_corrupt("bytes of data", make_container("{}", "x"));
}

BOOST_AUTO_TEST_CASE(a_header_above_the_limit_is_not_read) {
    const TemporaryFolder folder;
    const std::string path = folder / "sparse";
    write_bytes(path, pack(100'000'001));
    std::filesystem::resize_file(path, 200'000'000);  // a hole: it takes no room
    expect_failure(SPEFT_CORRUPT, "at most 100000000", [&] { read_adapter_file(path); });
}

// Work quadratic in the number of members would not end here within hours.
BOOST_AUTO_TEST_CASE(very_many_members_are_parsed_like_few) {
    std::string header = "{";
    for (int i = 0; i < 300000; ++i) header.append("\"").append(std::to_string(i)).append("\":{},");
    header.back() = '}';
    Reader().expect_corrupt("has no \"dtype\"", make_container(header));
}

BOOST_AUTO_TEST_CASE(duplicate_keys) {
    const auto spoil = [](std::string Parts::*part, const std::string &before, const std::string &twice) {
        expect_spoiled(part, before, twice + before, "twice");
    };
    spoil(&Parts::format, R"("speft.format")", R"("speft.format":"1",)");
    spoil(&Parts::options, R"("seed")", R"("seed":"7",)");
    spoil(&Parts::sparse, R"("role")", R"("role":"dense",)");
    spoil(&Parts::tensors, R"("w.gaps")", R"("w.g\u0061ps":{"dtype":"U16","shape":[2],"data_offsets":[12,16]},)");
}

BOOST_AUTO_TEST_CASE(tensors_that_lie) {
    const auto spoiled = [](const std::string &from, const std::string &to, const std::string &words) {
        expect_spoiled(&Parts::tensors, from, to, words);
    };
    spoiled("[0,8]", "[-8,0]", "integers");
    spoiled("[0,8]", "[0,8.0]", "integers");
    spoiled("[0,8]", "[0,\"8\"]", "integers");
    spoiled("[0,8]", "[0,18446744073709551615]", "integers");
    spoiled("[0,8]", "[0,99999999999999999999]", "integers");
    spoiled("[0,8]", "8", "an array");
    spoiled("[0,8]", "[0]", "a begin and an end");
    spoiled("[0,8]", "[0,8,8]", "a begin and an end");
    spoiled("[0,8]", "[8,0]", "a begin and an end");
    spoiled("[0,8]", "[0,4]", "has 4 bytes");
    spoiled("[0,8]", "[4,12]", "expected 0");
    spoiled("[8,12]", "[0,4]", "expected 4");
    spoiled("[12,16]", "[16,20]", "expected 12");
    spoiled("[12,16]", "[10,14]", "expected 12");
    spoiled(R"("U16","shape":[2],"data_offsets":[12,16])", R"("U16","shape":[3],"data_offsets":[12,18])",
            "16 bytes of data follow");
    spoiled(R"("U16","shape":[2],"data_offsets":[12,16])", R"("U16","shape":[1],"data_offsets":[12,14])",
            "16 bytes of data follow");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[-2])", "integers");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[2.0])", "integers");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[4611686018427387906])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[4294967296,4294967296,2])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[1,2])", "has shape [1, 2], expected [2]");
    spoiled(R"("F32","shape":[2])", R"("I32","shape":[2])", "expected F32");
    spoiled(R"("F32","shape":[2])", R"("F99","shape":[2])", "not the size");
    spoiled(R"("U16","shape":[2])", R"("BF16","shape":[2])", "expected U16");
    spoiled(R"("U16","shape":[2])", R"("U16","shape":[2,1])", "one dimension");
    spoiled(R"("dtype":"U16",)", "", "no \"dtype\"");
    spoiled(R"("dtype":"U16")", R"("dtype":16)", "a string");
    spoiled(R"("w.gaps":{)", R"("w.gaps":{},"x":{)", "no \"dtype\"");
    spoiled(R"("w.gaps":{)", R"("w.gaps":7,"x":{)", "not a JSON object");
    spoiled(R"("w.gaps")", R"("w.deltas2")", "\"w.gaps\" is missing");
    spoiled(R"("w.gaps":{)", R"("more":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w.gaps":{)", "4 tensors");
}

BOOST_AUTO_TEST_CASE(parameters_that_lie) {
    const auto spoiled = [](const std::string &from, const std::string &to, const std::string &words) {
        expect_spoiled(&Parts::sparse, from, to, words);
    };
    spoiled(R"("name":"w")", R"("name":"")", "empty name");
    spoiled(R"("name":"w")", R"("name":"b")", "two parameters");
    spoiled(R"("name":"w")", R"("name":"v")", "\"v.deltas\" is missing");
    spoiled(R"("name":"w")", R"("name":"w\u0000")", "NUL");
    spoiled(R"("name":"w",)", "", "parameter 0 has no \"name\"");
    spoiled("[2,3]", "[2,2]", "index 4 is outside the 4 scalars");
    spoiled("[2,3]", "[65536,65536]", "2^32");
    spoiled("[2,3]", "[4294967296,4294967296]", "2^32");
    spoiled("[2,3]", "[2,-3]", "integers");
    spoiled("[2,3]", "{}", "an array");
    spoiled("float32", "float64", "unknown type");
    spoiled("sparse", "frozen", "unknown role");
    spoiled("sparse", "dense", "\"w.values\" is missing");
    spoiled(R"("group":0)", R"("group":2147483648)", "\"group\"");
    spoiled(R"("group":0)", R"("group":-1)", "\"group\"");
    spoiled("0123456789abcdef", "", "16 digits");
    spoiled("0123456789abcdef", "123456789abcdef", "16 digits");
    spoiled("0123456789abcdef", "10123456789abcdef", "16 digits");
    spoiled("0123456789abcdef", "0123456789abcdeg", "base 16");
    spoiled(R"("count":2)", R"("count":1)", "expected [1]");
    spoiled(R"("count":2)", R"("count":3)", "expected [3]");
    spoiled(R"("count":2)", R"("count":9223372036854775807)", "expected [9223372036854775807]");
    spoiled(R"("count":2)", R"("count":18446744073709551615)", "\"count\"");
    expect_spoiled(&Parts::dense, R"("count":1)", R"("count":2)", "with 2 scalars");
    expect_spoiled(&Parts::dense, "[1]", "[1,1]", "expected [1, 1]");
    expect_spoiled(&Parts::dense, "{\"name\"", "7,{\"name\"", "parameter 1 is not a JSON object");
    expect_spoiled(&Parts::data, std::string("\1\0\2\0", 4), std::string("\1\0\xff\xff", 4), "cut off");
    expect_spoiled(&Parts::data, std::string("\1\0\2\0", 4), std::string("\1\0\4\0", 4), "index 6 is outside");
}

BOOST_AUTO_TEST_CASE(options_that_lie) {
    const auto spoiled = [](const std::string &from, const std::string &to, const std::string &words) {
        expect_spoiled(&Parts::options, from, to, words);
    };
    spoiled(R"("method":"random")", R"("method":"Random")", "unknown method");
    spoiled(R"("method":"random")", R"("method":1)", "a string");
    spoiled(R"("method":"random",)", "", "no \"method\"");
    spoiled("global", "local", "unknown scope");
    spoiled("exact", "inexact", "unknown random");
    spoiled("adamw", "adam", "unknown optimizer");
    spoiled("common", "", "unknown age");
    spoiled("0.5", "1.5", "density");
    spoiled("0.5", "-0.5", "density");
    spoiled("0.5", "null", "a number");
    spoiled("\"budget\":0", "\"budget\":1", "both");
    spoiled("\"budget\":0", "\"budget\":1.0", "integer");
    spoiled("\"7\"", "7", "a string");
    spoiled("\"7\"", "\"-7\"", "\"seed\"");
    spoiled("\"7\"", "\"18446744073709551616\"", "\"seed\"");
    spoiled("\"7\"", "\"7 \"", "\"seed\"");
    spoiled("\"steps\":3", "\"steps\":-3", "\"steps\"");
}

BOOST_AUTO_TEST_CASE(other_formats) {
    const auto read_format = [](const std::string &member) {
        Parts parts;
        parts.format = member;
        Reader().read(parts.file());
    };
    const auto refused = [&](speft_status status, const std::string &words, const std::string &member) {
        expect_failure(status, words, [&] { read_format(member); });
    };
    BOOST_CHECK_NO_THROW(read_format(R"("speft.format":"1","by":"another writer",)"));
    refused(SPEFT_UNSUPPORTED, "format 2", R"("speft.format":"2",)");
    refused(SPEFT_UNSUPPORTED, "format 4294967295", R"("speft.format":"4294967295",)");
    refused(SPEFT_CORRUPT, "not a libspeft adapter", "");
    for (const char *format : {"", "0", "-1", " 1", "1.0", "one", "99999999999999999999"})
        refused(SPEFT_CORRUPT, "positive integer", "\"speft.format\":\"" + std::string(format) + "\",");
}

BOOST_AUTO_TEST_CASE(what_is_no_file) {
    const TemporaryFolder folder;
    const auto refused = [](const std::string &path, const std::string &words) {
        return expect_failure(SPEFT_IO, "cannot read '" + path + "': " + words, [&] { read_adapter_file(path); });
    };
    BOOST_CHECK_EQUAL(refused(folder / "missing", "No such file or directory"), ENOENT);
    BOOST_CHECK_EQUAL(refused(folder.path().string(), "Is a directory"), EISDIR);
    BOOST_CHECK_EQUAL(refused("/dev/zero", "not a regular file"), EINVAL);
    BOOST_REQUIRE_EQUAL(mkfifo((folder / "pipe").c_str(), 0600), 0);
    BOOST_CHECK_EQUAL(refused(folder / "pipe", "not a regular file"), EINVAL);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
