// Files that are damaged, foreign or made to do harm: reading one either gives a consistent record or fails with a
// status and a reason.
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <sys/stat.h>

#include "core/storage/adapter_file.h"
#include "core/storage/checksum.h"
#include "core/storage/defect.h"
#include "core/storage/safetensors.h"
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

constexpr const char *unsealed = "0000000000000000";

// With the checksum that belongs to the content: whoever makes a file to do harm can compute it too. What is no
// container has none, and is refused before.
std::string seal(std::string bytes) {
    try {
        const MemorySource source(std::as_bytes(std::span(bytes)));
        const SafetensorsFile file(source);
        const std::string checksum = compute_checksum(file.metadata(), file.read_tensors(nullptr));
        if (const std::size_t at = bytes.find(unsealed); at != bytes.npos)
            bytes.replace(at, checksum.size(), checksum);
    } catch (const Defect &) {
        return bytes;
    }
    return bytes;
}

// A small adapter in its parts, each of which a test may spoil.
struct Parts {
    std::string format = R"("speft.format":"2",)";
    std::string options = R"("method":"random","scope":"global","random":"exact","density":0.5,"budget":0,"rank":0,)"
                          R"("model_scalars":0,"seed":"7","delta_type":"float32","optimizer":"adamw","age":"common",)"
                          R"("steps":3,"type":"float32",)";
    std::string bases;  // or "bases":[…],
    std::string sparse = R"({"name":"w","shape":[2,3],"type":"float32","role":"sparse","group":0,"count":2})";
    std::string dense = R"({"name":"b","shape":[1],"type":"bfloat16","role":"dense","group":0})";
    std::string training;  // or ,"speft.training":"…"
    std::string tensors = R"("base_hashes":{"dtype":"U64","shape":[1],"data_offsets":[0,8]},)"
                          R"("b.values":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                          R"("deltas":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},)"
                          R"("indices":{"dtype":"U8","shape":[2],"data_offsets":[20,22]})";
    // The mask is {1, 4} of 6 scalars: 1 low bit each, 1 and 0; high parts 0 and 2.
    std::string data = std::string("\xef\xcd\xab\x89\x67\x45\x23\x01", 8) + std::string("\0\0\0\x3f", 4) +
                       std::string("\0\0\x80\x3f\0\0\0\x40", 8) + "\x01\x09";

    std::string file() const {
        const std::string adapter = "{" + options + bases + R"("parameters":[)" + sparse + "," + dense + "]}";
        return seal(make_container(R"({"__metadata__":{)" + format + R"("speft.adapter":")" + escape(adapter) +
                                       R"(","speft.checksum":")" + unsealed + '"' + training + "}," + tensors + "}",
                                   data));
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
        return load_file(path_);
    }

    void expect_corrupt(const std::string &words, const std::string &bytes) const {
        expect_failure(SPEFT_CORRUPT, words, [&] { read(bytes); });
        expect_failure(SPEFT_CORRUPT, "'" + path_ + "'", [&] { load_file(path_); });
    }

    // What was read, if anything was.
    std::optional<AdapterRecord> survive(const std::string &bytes) const {
        try {
            const AdapterRecord record = read(bytes);
            BOOST_CHECK_NO_THROW(check_record(record));
            return record;
        } catch (const Failure &failure) {
            BOOST_CHECK(failure.status() == SPEFT_CORRUPT || failure.status() == SPEFT_UNSUPPORTED);
            return std::nullopt;
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

AdapterRecord make_checkpoint() {
    Draws draws(1);
    AdapterRecord record = make_record(1);
    add_training(draws, record);
    return record;
}

AdapterRecord make_checkpoint_in_bases() {
    Draws draws(1);
    AdapterRecord record = make_record_in_bases(1);
    add_lazy_training(draws, record);
    return record;
}

std::string make_file(const AdapterRecord &record) {
    const TemporaryFolder folder;
    save_file(record, folder / "a");
    return read_bytes(folder / "a");
}

std::size_t find_data(const std::string &file) {
    std::uint64_t header = 0;
    std::memcpy(&header, file.data(), sizeof header);
    return sizeof header + header;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hostile_file)

BOOST_AUTO_TEST_CASE(the_sample_that_the_tests_below_spoil_is_read) {
    const AdapterRecord record = Reader().read(Parts().file());
    BOOST_REQUIRE_EQUAL(record.parameters.size(), 2u);
    const ParameterRecord &w = record.parameters[0], &b = record.parameters[1];
    BOOST_CHECK_EQUAL(record.selection.method, SPEFT_SELECT_RANDOM);
    BOOST_CHECK_EQUAL(record.selection.density, 0.5);
    BOOST_CHECK_EQUAL(record.selection.seed, 7u);
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
    parts.tensors = R"( "indices" : {"data_offsets":[4,6],"shape":[2],"dtype":"U8"},)"
                    R"("\u0062.values":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                    R"("base_hashes":{"dtype":"U64","shape":[1],"data_offsets":[14,22]},)"
                    R"("deltas":{"dtype":"F32","shape":[2],"data_offsets":[6,14]} )";
    parts.data = parts.data.substr(8, 4) + parts.data.substr(20) + parts.data.substr(12, 8) + parts.data.substr(0, 8);
    BOOST_CHECK(same(Reader().read(parts.file()), Reader().read(Parts().file())));
}

BOOST_AUTO_TEST_CASE(cut_at_every_byte) {
    const Reader reader;
    for (const std::string &whole : {make_file(make_checkpoint()), make_file(make_checkpoint_in_bases())}) {
        for (std::size_t length = 0; length < whole.size(); ++length)
            expect_failure(SPEFT_CORRUPT, "cannot load", [&] { reader.read(whole.substr(0, length)); });
        reader.expect_corrupt("bytes of data follow the header", whole + '\0');
    }
}

// A flipped bit is noticed, or it changes nothing: the release that wrote the file, say.
void flip_every_bit(const AdapterRecord &record) {
    const std::string whole = make_file(record);
    const std::size_t data = find_data(whole);
    const Reader reader;
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            if (at >= data)
                reader.expect_corrupt("it is damaged", damaged);
            else if (const std::optional<AdapterRecord> read = reader.survive(damaged))
                BOOST_CHECK_MESSAGE(same(*read, record), "bit " << bit << " of byte " << at << " went unnoticed");
        }
    }
}

BOOST_AUTO_TEST_CASE(every_bit_flipped) { flip_every_bit(make_checkpoint()); }

BOOST_AUTO_TEST_CASE(every_bit_flipped_in_bases) { flip_every_bit(make_checkpoint_in_bases()); }

// With the checksum made to fit again.
BOOST_AUTO_TEST_CASE(bytes_of_the_data_replaced) {
    std::string whole = make_file(make_checkpoint());
    const std::size_t data = find_data(whole);
    const std::size_t checksum = whole.find("\"speft.checksum\":\"") + std::string("\"speft.checksum\":\"").size();
    whole.replace(checksum, std::string(unsealed).size(), unsealed);
    Draws draws(12);
    const Reader reader;
    int read = 0, refused = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string damaged = whole;
        damaged[data + draws.below(whole.size() - data)] = static_cast<char>(draws.below(256));
        ++(reader.survive(seal(damaged)) ? read : refused);
    }
    BOOST_CHECK_GT(read, 0);     // another delta is as good as the true one
    BOOST_CHECK_GT(refused, 0);  // another mask may have more indices than it should
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
    expect_failure(SPEFT_CORRUPT, "at most 100000000", [&] { load_file(path); });
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
    spoil(&Parts::format, R"("speft.format")", R"("speft.format":"2",)");
    spoil(&Parts::options, R"("seed")", R"("seed":"7",)");
    spoil(&Parts::sparse, R"("role")", R"("role":"dense",)");
    spoil(&Parts::tensors, R"("indices")", R"("indic\u0065s":{"dtype":"U8","shape":[2],"data_offsets":[20,22]},)");
}

BOOST_AUTO_TEST_CASE(tensors_that_lie) {
    const auto spoiled = [](const std::string &from, const std::string &to, const std::string &words) {
        expect_spoiled(&Parts::tensors, from, to, words);
    };
    spoiled("[12,20]", "[-8,0]", "integers");
    spoiled("[12,20]", "[12,20.0]", "integers");
    spoiled("[12,20]", "[12,\"20\"]", "integers");
    spoiled("[12,20]", "[12,18446744073709551615]", "integers");
    spoiled("[12,20]", "[12,99999999999999999999]", "integers");
    spoiled("[12,20]", "20", "an array");
    spoiled("[12,20]", "[12]", "a begin and an end");
    spoiled("[12,20]", "[12,20,20]", "a begin and an end");
    spoiled("[12,20]", "[20,12]", "a begin and an end");
    spoiled("[12,20]", "[12,16]", "has 4 bytes");
    spoiled("[0,8]", "[4,12]", "expected 0");
    spoiled("[8,12]", "[0,4]", "expected 4");
    spoiled("[20,22]", "[24,26]", "expected 20");
    spoiled("[20,22]", "[18,20]", "expected 20");
    spoiled(R"("U8","shape":[2],"data_offsets":[20,22])", R"("U8","shape":[3],"data_offsets":[20,23])",
            "22 bytes of data follow");
    spoiled(R"("U8","shape":[2],"data_offsets":[20,22])", R"("U8","shape":[1],"data_offsets":[20,21])",
            "22 bytes of data follow");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[-2])", "integers");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[2.0])", "integers");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[4611686018427387906])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[4294967296,4294967296,2])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("F32","shape":[1,2])", "has shape [1, 2], expected [2]");
    spoiled(R"("F32","shape":[2])", R"("I32","shape":[2])", "expected F32");
    spoiled(R"("F32","shape":[2])", R"("F99","shape":[2])", "not the size");
    spoiled(R"("F32","shape":[2])", R"("BF16","shape":[4])", "has shape [4], expected [2]");
    spoiled(R"("U8","shape":[2])", R"("BF16","shape":[1])", "expected U8");
    spoiled(R"("U8","shape":[2])", R"("U8","shape":[2,1])", "has shape [2, 1], expected [2]");
    spoiled(R"("U64","shape":[1])", R"("U32","shape":[2])", "expected U64");
    spoiled(R"("dtype":"U8",)", "", "no \"dtype\"");
    spoiled(R"("dtype":"U8")", R"("dtype":8)", "a string");
    spoiled(R"("indices":{)", R"("indices":{},"x":{)", "no \"dtype\"");
    spoiled(R"("indices":{)", R"("indices":7,"x":{)", "not a JSON object");
    spoiled(R"("indices")", R"("index")", "\"indices\" is missing");
    spoiled(R"("deltas")", R"("w.deltas")", "\"deltas\" is missing");
    spoiled(R"("base_hashes")", R"("hashes")", "\"base_hashes\" is missing");
    spoiled(R"("indices":{)", R"("more":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"indices":{)",
            "\"more\" is none of the adapter's");
}

BOOST_AUTO_TEST_CASE(parameters_that_lie) {
    const auto spoiled = [](const std::string &from, const std::string &to, const std::string &words) {
        expect_spoiled(&Parts::sparse, from, to, words);
    };
    spoiled(R"("name":"w")", R"("name":"")", "empty name");
    spoiled(R"("name":"w")", R"("name":"b")", "two parameters");
    spoiled(R"("name":"w")", R"("name":"w\u0000")", "NUL");
    spoiled(R"("name":"w",)", "", "parameter 0 has no \"name\"");
    spoiled("[2,3]", "[2,2]", "behind its end");
    spoiled("[2,3]", "[2,300]", "expected [3]");
    spoiled("[2,3]", "[0,3]", "\"count\"");
    spoiled("[2,3]", "[65536,65536]", "2^32");
    spoiled("[2,3]", "[4294967296,4294967296]", "2^32");
    spoiled("[2,3]", "[2,-3]", "integers");
    spoiled("[2,3]", "{}", "an array");
    spoiled("float32", "float64", "unknown type");
    spoiled("sparse", "frozen", "unknown role");
    spoiled("sparse", "dense", "\"base_hashes\" has shape [1], expected [0]");
    spoiled(R"("group":0)", R"("group":2147483648)", "\"group\"");
    spoiled(R"("group":0)", R"("group":-1)", "\"group\"");
    spoiled(R"("count":2)", R"("count":1)", "expected [1]");
    spoiled(R"("count":2)", R"("count":3)", "expected [3]");
    spoiled(R"("count":2)", R"("count":7)", "an integer in [0, 6]");
    spoiled(R"("count":2)", R"("count":9223372036854775807)", "\"count\"");
    spoiled(R"("count":2)", R"("count":18446744073709551615)", "\"count\"");
    spoiled(R"(,"count":2)", "", "no \"count\"");
    expect_spoiled(&Parts::dense, "[1]", "[1,1]", "expected [1, 1]");
    expect_spoiled(&Parts::dense, "{\"name\"", "7,{\"name\"", "parameter 1 is not a JSON object");
    expect_spoiled(&Parts::data, "\x01\x09", "\x01\x01", "has 1 indices, expected 2");
    expect_spoiled(&Parts::data, "\x01\x09", "\x01\x0d", "more than 2 indices");
    expect_spoiled(&Parts::data, "\x01\x09", "\x01\x03", "must rise");
    expect_spoiled(&Parts::data, "\x01\x09", "\x05\x09", "behind its end");
    expect_spoiled(&Parts::data, "\x01\x09", "\x01\x19", "behind its end");
}

BOOST_AUTO_TEST_CASE(deltas_of_bfloat16_are_stored_as_such) {
    Parts parts;
    edit(parts.options, R"("delta_type":"float32")", R"("delta_type":"bfloat16")");
    Reader().expect_corrupt("expected BF16", parts.file());
    edit(parts.tensors, R"("F32","shape":[2],"data_offsets":[12,20])", R"("BF16","shape":[2],"data_offsets":[12,16])");
    edit(parts.tensors, "[20,22]", "[16,18]");
    parts.data.erase(12, 4);
    BOOST_CHECK((Reader().read(parts.file()).parameters[0].deltas == std::vector<float>{0.0f, 2.0f}));
}

BOOST_AUTO_TEST_CASE(values_come_in_float32_or_in_the_weights_type) {
    Parts parts;
    edit(parts.tensors, R"("F32","shape":[1],"data_offsets":[8,12])", R"("BF16","shape":[1],"data_offsets":[8,10])");
    edit(parts.tensors, "[12,20]", "[10,18]");
    edit(parts.tensors, "[20,22]", "[18,20]");
    parts.data.erase(8, 2);
    BOOST_CHECK((Reader().read(parts.file()).parameters[1].deltas == std::vector<float>{0.5f}));
    edit(parts.tensors, "BF16", "F16");
    Reader().expect_corrupt("expected F32", parts.file());
}

// The sample in the middle of an accumulation, which "w" has a gradient of.
Parts make_training_parts() {
    Parts parts;
    parts.training = R"(,"speft.training":"{\"observations\":1,\"parameters\":[{\"received\":\"pending\",)"
                     R"(\"updates\":3},{\"received\":\"nothing\",\"updates\":0}]}")";
    parts.tensors += R"(,"training.gradients":{"dtype":"F32","shape":[2],"data_offsets":[22,30]},)"
                     R"("training.originals":{"dtype":"U8","shape":[10],"data_offsets":[30,40]},)"
                     R"("training.state.moment1":{"dtype":"F32","shape":[3],"data_offsets":[40,52]})";
    parts.data += std::string("\0\0\x80\x3f\0\0\0\x40", 8) + "0123456789" + std::string(12, '\0');
    return parts;
}

BOOST_AUTO_TEST_CASE(trainings_that_lie) {
    const AdapterRecord record = Reader().read(make_training_parts().file());
    BOOST_REQUIRE(record.training && record.training->parameters.size() == 2);
    BOOST_CHECK_EQUAL(record.training->observations, 1);
    BOOST_CHECK((record.training->parameters[0].gradient == std::vector<float>{1.0f, 2.0f}));
    BOOST_CHECK_EQUAL(record.training->parameters[0].updates, 3u);
    BOOST_CHECK_EQUAL(record.training->parameters[1].originals.size(), 2u);

    const auto spoiled = [](std::string Parts::*part, const std::string &from, const std::string &to,
                            const std::string &words) {
        BOOST_TEST_CONTEXT(from << " -> " << to) {
            Parts parts = make_training_parts();
            edit(parts.*part, from, to);
            Reader().expect_corrupt(words, parts.file());
        }
    };
    spoiled(&Parts::training, R"(:\"pending\")", R"(:\"arrived\")", "must be nothing, cleared or pending");
    spoiled(&Parts::training, R"(:\"pending\")", R"(:\"cleared\")", "has shape [2], expected [0]");
    spoiled(&Parts::training, R"(:\"nothing\")", R"(:\"pending\")", "has shape [2], expected [3]");
    spoiled(&Parts::training, R"(\"updates\":3)", R"(\"updates\":2147483648)", "\"updates\"");
    spoiled(&Parts::training, R"(\"observations\":1)", R"(\"observations\":-1)", "\"observations\"");
    spoiled(&Parts::training, R"(,{\"received\":\"nothing\",\"updates\":0})", "", "of 1 parameters, expected 2");
    spoiled(&Parts::training, R"(\"parameters\":[)", R"(\"parameters\":[7,)", "not a JSON object");
    spoiled(&Parts::training, "speft.training", "speft.trained", "is none of the adapter's");
    spoiled(&Parts::tensors, "training.gradients", "training.gradient", "\"training.gradients\" is missing");
    spoiled(&Parts::tensors, R"("U8","shape":[10])", R"("U8","shape":[5,2])", "expected [10]");
    spoiled(&Parts::tensors, R"("U8","shape":[10])", R"("BF16","shape":[5])", "expected U8");
    spoiled(&Parts::tensors, R"("F32","shape":[3])", R"("F16","shape":[6])", "expected F32");
    spoiled(&Parts::tensors, R"("F32","shape":[3])", R"("F32","shape":[1,3])", "expected one axis");
    spoiled(&Parts::tensors, "training.state.", "training.", "is none of the adapter's");
}

// The sample with a settled scalar of "w", its second, and a candidate, whose gradient has not arrived.
BOOST_AUTO_TEST_CASE(masks_that_moved_and_lie) {
    const auto make_parts = [](const std::string &settled, const std::string &candidate) {
        Parts parts;
        parts.training = R"(,"speft.training":"{\"observations\":1,\"parameters\":[{\"received\":\"cleared\",)"
                         R"(\"updates\":3,\"settled\":1,\"candidates\":1},{\"received\":\"nothing\",\"updates\":0}]}")";
        parts.tensors += R"(,"training.candidates.gradients":{"dtype":"F32","shape":[0],"data_offsets":[22,22]},)"
                         R"("training.gradients":{"dtype":"F32","shape":[0],"data_offsets":[22,22]},)"
                         R"("training.originals":{"dtype":"U8","shape":[10],"data_offsets":[22,32]},)"
                         R"("training.settled":{"dtype":"U32","shape":[1],"data_offsets":[32,36]},)"
                         R"("training.candidates.indices":{"dtype":"U32","shape":[1],"data_offsets":[36,40]},)"
                         R"("training.candidates.squares":{"dtype":"F32","shape":[1],"data_offsets":[40,44]},)"
                         R"("training.candidates.sums":{"dtype":"F32","shape":[1],"data_offsets":[44,48]})";
        parts.data += "0123456789" + settled + std::string(3, '\0') + candidate + std::string(11, '\0');
        return parts;
    };
    const AdapterRecord record = Reader().read(make_parts("\1", "\5").file());
    BOOST_REQUIRE(record.training && record.training->candidates.size() == 2);
    BOOST_CHECK((record.training->parameters[0].settled == std::vector<std::uint32_t>{1}));
    BOOST_CHECK((record.training->candidates[0].indices == std::vector<std::uint32_t>{5}));
    Reader().expect_corrupt("must rise and stay below 2, got 2", make_parts("\2", "\5").file());
    Reader().expect_corrupt("must rise and stay below 6, got 6", make_parts("\1", "\6").file());
    Reader().expect_corrupt("candidate 4 of parameter \"w\" is selected already", make_parts("\1", "\4").file());
    Parts parts = make_parts("\1", "\5");
    edit(parts.options, R"("method":"random")", R"("method":"meprop")");
    Reader().expect_corrupt("are settled", parts.file());
}

// The sample with "w" in a basis of one direction of its two rows and two of its three columns: the mask is {1} of 2.
Parts make_parts_in_a_basis() {
    Parts parts;
    edit(parts.options, R"("method":"random")", R"("method":"sparsegrad")");
    parts.bases = R"("bases":[{"rows":2,"columns":3,"row_directions":1,"column_directions":2}],)";
    parts.sparse = R"({"name":"w","shape":[2,3],"basis":0,"count":1})";
    parts.tensors = R"("base_hashes":{"dtype":"U64","shape":[1],"data_offsets":[0,8]},)"
                    R"("basis.0.u":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                    R"("basis.0.v":{"dtype":"F32","shape":[1,2],"data_offsets":[32,40]},)"
                    R"("b.values":{"dtype":"F32","shape":[1],"data_offsets":[40,44]},)"
                    R"("deltas":{"dtype":"F32","shape":[1],"data_offsets":[44,48]},)"
                    R"("indices":{"dtype":"U8","shape":[2],"data_offsets":[48,50]})";
    parts.data.resize(8);
    for (const float value : {1.0f, 0.0f, 0.0f, 0.0f, 0.0f, -1.0f, 0.0f, 1.0f, 0.5f, 2.0f})
        parts.data.append(reinterpret_cast<const char *>(&value), sizeof value);
    parts.data += "\x01\x01";
    return parts;
}

BOOST_AUTO_TEST_CASE(bases_that_lie) {
    const AdapterRecord record = Reader().read(make_parts_in_a_basis().file());
    BOOST_REQUIRE_EQUAL(record.bases.size(), 1u);
    BOOST_CHECK((record.bases[0].u == std::vector<float>{1, 0, 0, 0, 0, -1}));
    BOOST_CHECK((record.bases[0].v == std::vector<float>{0, 1}));
    BOOST_CHECK(record.parameters[0].basis == std::size_t{0});
    BOOST_CHECK((record.parameters[0].indices == std::vector<std::uint32_t>{1}));
    BOOST_CHECK((record.parameters[0].deltas == std::vector<float>{2.0f}));

    const auto spoiled = [](std::string Parts::*part, const std::string &from, const std::string &to,
                            const std::string &words) {
        BOOST_TEST_CONTEXT(from << " -> " << to) {
            Parts parts = make_parts_in_a_basis();
            edit(parts.*part, from, to);
            Reader().expect_corrupt(words, parts.file());
        }
    };
    const auto spoiled_tensor = [&](const std::string &from, const std::string &to, const std::string &words) {
        spoiled(&Parts::tensors, from, to, words);
    };
    spoiled_tensor("basis.0.u", "basis.0.w", "\"basis.0.u\" is missing");
    spoiled_tensor("basis.0.v", "basis.00.v", "\"basis.0.v\" is missing");
    spoiled_tensor(R"("deltas")", R"("basis.1.u":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"deltas")",
                   "\"basis.1.u\" is none of the adapter's");
    spoiled_tensor(R"("shape":[2,3])", R"("shape":[3,2])", "has shape [3, 2], expected [2, 3]");
    spoiled_tensor(R"("shape":[2,3])", R"("shape":[6])", "has shape [6], expected [2, 3]");
    spoiled_tensor(R"("shape":[1,2])", R"("shape":[2,1])", "has shape [2, 1], expected [1, 2]");
    spoiled_tensor(R"("F32","shape":[2,3])", R"("I32","shape":[2,3])", "expected F32");
    spoiled_tensor(R"("F32","shape":[1,2])", R"("BF16","shape":[2,2])", "expected F32");

    const auto spoiled_bases = [&](const std::string &from, const std::string &to, const std::string &words) {
        spoiled(&Parts::bases, from, to, words);
    };
    spoiled_bases(R"("row_directions":1)", R"("row_directions":0)", "0 directions of 2 rows");
    spoiled_bases(R"("row_directions":1)", R"("row_directions":3)", "3 directions of 2 rows");
    spoiled_bases(R"("column_directions":2)", R"("column_directions":0)", "0 directions of 3 columns");
    spoiled_bases(R"("column_directions":2)", R"("column_directions":4)", "4 directions of 3 columns");
    spoiled_bases(R"("column_directions":2)", R"("column_directions":1)", "expected [1, 3]");
    spoiled_bases(R"("column_directions":2)", R"("column_directions":-2)", "\"column_directions\"");
    spoiled_bases(R"("rows":2)", R"("rows":1)", "not that of its basis");
    spoiled_bases(R"("rows":2)", R"("rows":0)", "1 directions of 0 rows");
    spoiled_bases(R"("rows":2)", R"("rows":4294967296)", "fewer than 2^32");
    spoiled_bases(R"("rows":2)", R"("rows":9223372036854775807)", "fewer than 2^32");
    spoiled_bases(R"("rows":2)", R"("rows":18446744073709551615)", "\"rows\"");
    spoiled_bases(R"("rows":2)", R"("rows":2.0)", "\"rows\"");
    spoiled_bases(R"("rows":2,)", "", "basis 0 has no \"rows\"");
    spoiled_bases(R"([{)", R"([7,{)", "basis 0 is not a JSON object");
    const std::string all = make_parts_in_a_basis().bases;
    spoiled_bases(all, R"("bases":{},)", "an array");
    spoiled_bases(all, "", "has the basis 0 of 0");
    spoiled_bases("}]", R"(},{"rows":1,"columns":1,"row_directions":1,"column_directions":1}])",
                  "no parameter is in basis 1");

    const auto spoiled_sparse = [&](const std::string &from, const std::string &to, const std::string &words) {
        spoiled(&Parts::sparse, from, to, words);
    };
    spoiled_sparse(R"("basis":0)", R"("basis":1)", "has the basis 1 of 1");
    spoiled_sparse(R"("basis":0)", R"("basis":9223372036854775807)", "has the basis 9223372036854775807 of 1");
    spoiled_sparse(R"("basis":0)", R"("basis":-1)", "\"basis\"");
    spoiled_sparse(R"("basis":0)", R"("basis":0.0)", "\"basis\"");
    spoiled_sparse(R"("basis":0)", R"("basis":"0")", "\"basis\"");
    spoiled_sparse(R"("basis":0,)", "", "\"w\" of sparsegrad has no basis");
    spoiled_sparse(R"("count":1)", R"("count":3)", "an integer in [0, 2]");
    spoiled_sparse(R"("count":1)", R"("count":2)", "expected [2]");
    spoiled_sparse("[2,3]", "[3,2]", "not that of its basis");
    spoiled_sparse("[2,3]", "[6]", "not that of its basis");
    spoiled_sparse("[2,3]", "[2,3,1]", "not that of its basis");
    spoiled_sparse("[2,3]", "[0,3]", "not that of its basis");
    spoiled(&Parts::dense, R"("group":0)", R"("basis":0)", "\"b\" has a basis");
    spoiled(&Parts::data, "\x01\x01", "\x01\x02", "behind its end");

    const auto spoiled_options = [&](const std::string &from, const std::string &to, const std::string &words) {
        spoiled(&Parts::options, from, to, words);
    };
    spoiled_options("sparsegrad", "random", "\"w\" has a basis");
    spoiled_options("sparsegrad", "meprop", "\"w\" has a basis");
    spoiled_options(R"("delta_type":"float32")", R"("delta_type":"bfloat16")", "SPEFT_DELTA_FLOAT32");
    spoiled_options(R"("seed")", R"("threshold":-1,"seed")", "threshold");
    spoiled_options("adamw", "sgd", "SPEFT_OPTIMIZER_ADAMW or _ADAM");
    spoiled_options(R"("age":"common",)", R"("age":"common","state":"blocks8",)", "8 bits");
}

// What a basis claims is held against its tensors before there is memory of that size.
BOOST_AUTO_TEST_CASE(bases_that_claim_to_be_huge) {
    const auto make_parts = [](const std::string &directions) {
        Parts parts = make_parts_in_a_basis();
        edit(parts.sparse, "[2,3]", "[4294967295,1]");
        parts.bases = R"("bases":[{"rows":4294967295,"columns":1,"row_directions":)" + directions +
                      R"(,"column_directions":1}],)";
        edit(parts.tensors, R"("shape":[2,3],"data_offsets":[8,32])", R"("shape":[1,1],"data_offsets":[8,12])");
        edit(parts.tensors, R"("shape":[1,2],"data_offsets":[32,40])", R"("shape":[1,7],"data_offsets":[12,40])");
        return parts;
    };
    Reader().expect_corrupt("has shape [1, 7], expected [1, 4294967295]", make_parts("1").file());
    Reader().expect_corrupt("has shape [1, 7], expected [4294967295, 4294967295]", make_parts("4294967295").file());
}

// A delta in a basis belongs to no weight alone: of "w" there are no original bits, two bytes of "b" alone.
BOOST_AUTO_TEST_CASE(trainings_in_a_basis_that_lie) {
    const auto make_parts = [](const std::string &originals) {
        Parts parts = make_parts_in_a_basis();
        parts.training = R"(,"speft.training":"{\"observations\":0,\"parameters\":[{\"received\":\"pending\",)"
                         R"(\"updates\":3},{\"received\":\"nothing\",\"updates\":3}]}")";
        const auto end = std::to_string(54 + originals.size()), last = std::to_string(58 + originals.size());
        parts.tensors += R"(,"training.gradients":{"dtype":"F32","shape":[1],"data_offsets":[50,54]},)"
                         R"("training.originals":{"dtype":"U8","shape":[)" + std::to_string(originals.size()) +
                         R"(],"data_offsets":[54,)" + end + R"(]},"training.state.ages":{"dtype":"U16","shape":[2],)"
                         R"("data_offsets":[)" + end + "," + last + "]}";
        parts.data += std::string("\0\0\x80\x3f", 4) + originals + std::string("\3\0\7\0", 4);
        return parts;
    };
    const AdapterRecord record = Reader().read(make_parts("12").file());
    BOOST_REQUIRE(record.training && record.training->state.size() == 1);
    BOOST_CHECK(record.training->parameters[0].originals.empty());
    BOOST_CHECK_EQUAL(record.training->parameters[1].originals.size(), 2u);
    BOOST_CHECK_EQUAL(record.training->state[0].name, "ages");
    BOOST_CHECK_EQUAL(record.training->state[0].type, "U16");
    Reader().expect_corrupt("has shape [6], expected [2]", make_parts("123456").file());
    Parts parts = make_parts("12");
    edit(parts.tensors, R"("U16","shape":[2])", R"("U16","shape":[2,1])");
    Reader().expect_corrupt("expected one axis", parts.file());
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
    spoiled("adamw", "adamx", "unknown optimizer");
    spoiled(R"("age":"common",)", R"("age":"common","state":"float16",)", "unknown state");
    spoiled("common", "", "unknown age");
    spoiled("0.5", "1.5", "density");
    spoiled("0.5", "-0.5", "density");
    spoiled("0.5", "null", "a number");
    spoiled("\"budget\":0", "\"budget\":1", "more than one");
    spoiled("\"rank\":0", "\"rank\":1", "more than one");
    spoiled("\"model_scalars\":0", "\"model_scalars\":-1", "\"model_scalars\"");
    spoiled(R"("delta_type":"float32")", R"("delta_type":"float16")", "unknown delta_type");
    spoiled(R"("type":"float32",)", "", "no \"type\"");
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
    BOOST_CHECK_NO_THROW(read_format(R"("speft.format":"2","by":"another writer",)"));
    refused(SPEFT_UNSUPPORTED, "format 1", R"("speft.format":"1",)");
    refused(SPEFT_UNSUPPORTED, "format 3", R"("speft.format":"3",)");
    refused(SPEFT_UNSUPPORTED, "format 4294967295", R"("speft.format":"4294967295",)");
    refused(SPEFT_CORRUPT, "not a libspeft adapter", "");
    for (const char *format : {"", "0", "-1", " 1", "1.0", "one", "99999999999999999999"})
        refused(SPEFT_CORRUPT, "positive integer", "\"speft.format\":\"" + std::string(format) + "\",");
}

BOOST_AUTO_TEST_CASE(what_is_no_file) {
    const TemporaryFolder folder;
    const auto refused = [](const std::string &path, const std::string &words) {
        return expect_failure(SPEFT_IO, "cannot read '" + path + "': " + words, [&] { load_file(path); });
    };
    BOOST_CHECK_EQUAL(refused(folder / "missing", "No such file or directory"), ENOENT);
    BOOST_CHECK_EQUAL(refused(folder.path().string(), "Is a directory"), EISDIR);
    BOOST_CHECK_EQUAL(refused("/dev/zero", "not a regular file"), EINVAL);
    BOOST_REQUIRE_EQUAL(mkfifo((folder / "pipe").c_str(), 0600), 0);
    BOOST_CHECK_EQUAL(refused(folder / "pipe", "not a regular file"), EINVAL);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
