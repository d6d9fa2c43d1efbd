#include "core/storage/adapter_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

AdapterRecord save_and_load(const AdapterRecord &record) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    write_adapter_file(record, path, nullptr);
    return read_adapter_file(path);
}

AdapterRecord make_single(ParameterRecord parameter) {
    AdapterRecord record = make_empty_record();
    record.parameters.push_back(std::move(parameter));
    return record;
}

std::vector<std::uint32_t> every_index(std::uint32_t size) {
    std::vector<std::uint32_t> indices(size);
    for (std::uint32_t i = 0; i < size; ++i) indices[i] = i;
    return indices;
}

// A callback that remembers what it heard and cancels at call `last`.
struct Listener {
    explicit Listener(std::size_t last) : cancel_at(last) {}

    static std::int32_t report(void *user, std::int64_t done, std::int64_t total) {
        auto &self = *static_cast<Listener *>(user);
        self.heard.emplace_back(done, total);
        if (self.on_call) self.on_call();
        return self.heard.size() > self.cancel_at;
    }

    std::size_t cancel_at;
    std::vector<std::pair<std::int64_t, std::int64_t>> heard;
    std::function<void()> on_call;
    speft_progress progress{sizeof(speft_progress), this, report};
};

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

}  // namespace

BOOST_AUTO_TEST_SUITE(adapter_file)

BOOST_AUTO_TEST_CASE(reload_is_identical) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const AdapterRecord record = make_record(seed);
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

BOOST_AUTO_TEST_CASE(reload_is_identical_for_masks_of_every_kind) {
    Draws draws(2);
    struct Mask {
        std::vector<std::int64_t> shape;
        std::vector<std::uint32_t> indices;
    };
    const Mask masks[] = {
        {{1}, {}},
        {{1}, {0}},
        {{}, {0}},
        {{3, 5}, every_index(15)},
        {{300000}, {0, 65535, 65536, 131072, 299999}},
        {{2, 65536}, {131071}},
        {{65536, 4}, {65535, 65535 * 2 + 1, 65535 * 3 + 2}},
        {{4294967295}, {0, 4294967294}},
        {{1ll << 40, 0, 1ll << 40}, {}},
    };
    for (const Mask &mask : masks) {
        AdapterRecord record = make_single(make_sparse(draws, "w", mask.shape, mask.indices));
        record.parameters.push_back(make_dense(draws, "head", {1}));
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

BOOST_AUTO_TEST_CASE(reload_is_identical_for_every_word) {
    Draws draws(3);
    AdapterRecord record = make_single(make_sparse(draws, "w", {9}, {1, 8}));
    for (record.method = SPEFT_SELECT_RANDOM; record.method <= SPEFT_SELECT_MEPROP; ++record.method)
        BOOST_CHECK(same(save_and_load(record), record));
    record.method = SPEFT_SELECT_RANDOM;
    record.random = SPEFT_RANDOM_BERNOULLI;
    record.age = SPEFT_AGE_PER_WEIGHT;
    for (record.optimizer = SPEFT_OPTIMIZER_ADAMW; record.optimizer <= SPEFT_OPTIMIZER_ADAFACTOR; ++record.optimizer)
        BOOST_CHECK(same(save_and_load(record), record));
}

BOOST_AUTO_TEST_CASE(numbers_survive_to_the_last_bit) {
    Draws draws(4);
    AdapterRecord record = make_single(make_sparse(draws, "w", {9}, {1, 8}));
    for (const double density : {0.1, 1.0 / 3.0, 0x1p-1074, 0x1.fffffffffffffp-1, 1.0, 1e-300}) {
        record.density = density;
        BOOST_CHECK(same(save_and_load(record), record));
    }
    for (int i = 0; i < 200; ++i) {
        record.density = static_cast<double>(draws() >> 11) * 0x1p-53;
        BOOST_CHECK(same(save_and_load(record), record));
    }
    record.density = 0;
    record.budget = record.steps = std::numeric_limits<std::int64_t>::max();
    record.seed = record.parameters[0].base_hash = std::numeric_limits<std::uint64_t>::max();
    record.parameters[0].group = std::numeric_limits<std::int32_t>::max();
    BOOST_CHECK(same(save_and_load(record), record));

    for (const std::uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xffc12345u, 0x80000000u, 0xff800000u, 0x00000001u}) {
        record.parameters[0].deltas = {std::bit_cast<float>(bits), 1.0f};
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

// Every tensor name is a parameter name and a suffix: names that look like other parameters' tensors stay apart.
BOOST_AUTO_TEST_CASE(names_of_parameters_never_collide) {
    Draws draws(5);
    AdapterRecord record = make_empty_record();
    const std::string suffixes[] = {".gaps", ".deltas", ".values"};
    for (const char *name : {"", "a", "__metadata__", "."}) {
        const std::string stem = name;
        if (!stem.empty()) record.parameters.push_back(make_sparse(draws, stem, {100}, draw_mask(draws, 100, 7)));
        for (const std::string &inner : suffixes) {
            record.parameters.push_back(make_sparse(draws, stem + inner, {100}, draw_mask(draws, 100, 7)));
            for (const std::string &outer : suffixes)
                record.parameters.push_back(make_dense(draws, stem + inner + outer, {3}));
        }
    }
    BOOST_CHECK(same(save_and_load(record), record));
}

BOOST_AUTO_TEST_CASE(is_small) {
    // The shapes of a layer 1024 wide, at the smallest density that the bound of 6.5 bytes a weight speaks of.
    Draws draws(6);
    AdapterRecord record = make_empty_record();
    record.density = 0.001;
    std::size_t weights = 0;
    for (int layer = 0; layer < 4; ++layer) {
        const std::string prefix = "model.encoder.layer." + std::to_string(layer);
        for (const char *name : {".attention.self.query.weight", ".attention.self.value.weight", ".mlp.up.weight"}) {
            const std::int64_t rows = name == std::string(".mlp.up.weight") ? 4096 : 1024;
            const auto size = static_cast<std::uint32_t>(rows * 1024);
            record.parameters.push_back(
                make_sparse(draws, prefix + name, {rows, 1024}, draw_mask(draws, size, size / 1000)));
            weights += size / 1000;
        }
    }
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    write_adapter_file(record, path, nullptr);
    BOOST_CHECK_LE(static_cast<double>(std::filesystem::file_size(path)), 6.5 * static_cast<double>(weights));
    BOOST_CHECK(same(read_adapter_file(path), record));
}

// The format itself, written out: files of today must be read by the versions of tomorrow.
BOOST_AUTO_TEST_CASE(a_small_file_has_exactly_these_bytes) {
    AdapterRecord record = make_empty_record();
    record.density = 0.1;
    record.seed = 7;
    record.steps = 3;
    record.parameters.resize(2);
    ParameterRecord &w = record.parameters[0], &b = record.parameters[1];
    w.name = "w";
    w.shape = {2, 40000};
    w.base_hash = 0xabcdef;
    w.indices = {1, 65537};
    w.deltas = {1.0f, -2.0f};
    b.name = "b";
    b.shape = {1};
    b.scalar_type = SPEFT_SCALAR_BFLOAT16;
    b.role = SPEFT_ROLE_DENSE;
    b.group = 1;
    b.deltas = {0.5f};
    const TemporaryFolder folder;
    write_adapter_file(record, folder / "a", nullptr);

    std::string header =
        R"({"__metadata__":{"speft.adapter":"{\"method\":\"gradient\",\"scope\":\"global\",\"random\":\"exact\",)"
        R"(\"density\":0.1,\"budget\":0,\"seed\":\"7\",\"optimizer\":\"adamw\",\"age\":\"common\",\"steps\":3,)"
        R"(\"parameters\":[{\"name\":\"w\",\"shape\":[2,40000],\"type\":\"float32\",\"role\":\"sparse\",\"group\":0,)"
        R"(\"base_hash\":\"0000000000abcdef\",\"count\":2},{\"name\":\"b\",\"shape\":[1],\"type\":\"bfloat16\",)"
        R"(\"role\":\"dense\",\"group\":1,\"base_hash\":\"0000000000000000\",\"count\":1}]}",)"
        R"("speft.format":"1","speft.version":")" SPEFT_VERSION R"("},)"
        R"("b.values":{"data_offsets":[8,12],"dtype":"F32","shape":[1]},)"
        R"("w.deltas":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},)"
        R"("w.gaps":{"data_offsets":[12,18],"dtype":"U16","shape":[3]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = header.size();
    const std::string data = {'\0', '\0', '\x80', '\x3f', '\0', '\0', '\0', '\xc0', '\0', '\0', '\0', '\x3f',
                              '\1', '\0', '\xff', '\xff', '\0', '\0'};
    std::string expected(reinterpret_cast<const char *>(&length), sizeof length);
    expected += header + data;
    BOOST_CHECK_EQUAL(read_bytes(folder / "a"), expected);
}

BOOST_AUTO_TEST_CASE(equal_records_make_equal_files_with_aligned_data) {
    const TemporaryFolder folder;
    write_adapter_file(make_record(7), folder / "a", nullptr);
    write_adapter_file(make_record(7), folder / "b", nullptr);
    const std::string bytes = read_bytes(folder / "a");
    BOOST_CHECK(bytes == read_bytes(folder / "b"));
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    BOOST_CHECK_EQUAL(header % 8, 0u);
    BOOST_CHECK_EQUAL(bytes[8], '{');
}

BOOST_AUTO_TEST_CASE(what_is_inconsistent_is_not_written) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    const auto refused = [&](const std::string &words, const std::function<void(AdapterRecord &)> &spoil) {
        AdapterRecord record = make_record(8);
        spoil(record);
        expect_failure(SPEFT_INVALID_ARGUMENT, words, [&] { write_adapter_file(record, path, nullptr); });
        BOOST_CHECK(folder.list().empty());
    };
    refused("method", [](AdapterRecord &r) { r.method = 0; });
    refused("scope", [](AdapterRecord &r) { r.scope = 2; });
    refused("random", [](AdapterRecord &r) { r.random = -1; });
    refused("optimizer", [](AdapterRecord &r) { r.optimizer = 0; });
    refused("age", [](AdapterRecord &r) { r.age = 2; });
    refused("got nan", [](AdapterRecord &r) { r.density = std::nan(""); });
    refused("density", [](AdapterRecord &r) { r.density = 1.5; });
    refused("budget", [](AdapterRecord &r) { r.budget = -1; });
    refused("both", [](AdapterRecord &r) { r.budget = 1; });
    refused("steps", [](AdapterRecord &r) { r.steps = -1; });
    refused("no parameter", [](AdapterRecord &r) { r.parameters.clear(); });
    refused("no parameter", [](AdapterRecord &r) { r.parameters = {r.parameters.back()}; });
    refused("empty name", [](AdapterRecord &r) { r.parameters[0].name.clear(); });
    refused("two parameters", [](AdapterRecord &r) { r.parameters[1].name = r.parameters[0].name; });
    refused("\"\xef\xbf\xbd(\" is not valid UTF-8", [](AdapterRecord &r) { r.parameters[0].name = "\xc3("; });
    refused("contains a NUL", [](AdapterRecord &r) { r.parameters[0].name = std::string("a\0b", 3); });
    refused("type", [](AdapterRecord &r) { r.parameters[0].scalar_type = 3; });
    refused("role 2", [](AdapterRecord &r) { r.parameters[0].role = 2; });
    refused("group -1", [](AdapterRecord &r) { r.parameters[0].group = -1; });
    refused("shape [-1, 48]", [](AdapterRecord &r) { r.parameters[0].shape[0] = -1; });
    refused("2^32", [](AdapterRecord &r) { r.parameters[0].shape = {65536, 65536}; });
    refused("2^32", [](AdapterRecord &r) { r.parameters[0].shape = {1ll << 32, 1ll << 32}; });
    refused("below 3072", [](AdapterRecord &r) { r.parameters[0].indices.back() = 3072; });
    refused("must rise", [](AdapterRecord &r) { r.parameters[0].indices[1] = r.parameters[0].indices[0]; });
    refused("39 deltas, expected 40", [](AdapterRecord &r) { r.parameters[0].deltas.pop_back(); });
    refused("97 deltas, expected 96", [](AdapterRecord &r) { r.parameters[1].deltas.push_back(0); });
    refused("has indices", [](AdapterRecord &r) { r.parameters[1].indices = {1}; });
}

BOOST_AUTO_TEST_CASE(progress_goes_from_nothing_to_all_in_small_pieces) {
    Draws draws(9);
    const AdapterRecord record = make_single(make_dense(draws, "head", {200, 1000}));
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    Listener listener(never);
    write_adapter_file(record, path, &listener.progress);
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path));
    BOOST_CHECK_EQUAL(listener.heard.front().first, 0);
    BOOST_CHECK_EQUAL(listener.heard.back().first, size);
    std::int64_t before = 0;
    for (const auto &[done, total] : listener.heard) {
        BOOST_CHECK_EQUAL(total, size);
        BOOST_CHECK_GE(done, before);
        BOOST_CHECK_LE(done - before, 65536);
        before = done;
    }
    BOOST_CHECK_GE(listener.heard.size(), 800000u / 65536u);
}

BOOST_AUTO_TEST_CASE(reading_reports_each_parameter_and_can_be_cancelled) {
    const AdapterRecord record = make_record(12);
    const auto parameters = static_cast<std::int64_t>(record.parameters.size());
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    write_adapter_file(record, path, nullptr);
    Listener listener(never);
    BOOST_CHECK(same(read_adapter_file(path, &listener.progress), record));
    BOOST_REQUIRE_EQUAL(listener.heard.size(), record.parameters.size() + 1);
    for (std::int64_t done = 0; done <= parameters; ++done)
        BOOST_CHECK((listener.heard[static_cast<std::size_t>(done)] == std::pair(done, parameters)));
    for (std::size_t call = 0; call < listener.heard.size(); ++call) {
        Listener canceller(call);
        expect_failure(SPEFT_CANCELLED, "reading '" + path + "'",
                       [&] { read_adapter_file(path, &canceller.progress); });
        BOOST_CHECK_EQUAL(canceller.heard.size(), call + 1);
    }
}

BOOST_AUTO_TEST_CASE(cancelling_at_any_call_leaves_the_old_file) {
    Draws draws(10);
    const AdapterRecord old = make_record(10);
    const AdapterRecord record = make_single(make_dense(draws, "head", {100, 1000}));
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    write_adapter_file(old, path, nullptr);
    Listener counter(never);
    write_adapter_file(record, folder / "other", &counter.progress);
    std::filesystem::remove(folder / "other");
    for (std::size_t call = 0; call < counter.heard.size(); ++call) {
        Listener listener(call);
        expect_failure(SPEFT_CANCELLED, "writing '" + path + "'",
                       [&] { write_adapter_file(record, path, &listener.progress); });
        BOOST_CHECK_EQUAL(listener.heard.size(), call + 1);
        BOOST_CHECK_EQUAL(folder.list().size(), 1u);
        BOOST_CHECK(same(read_adapter_file(path), old));
    }
}

BOOST_AUTO_TEST_CASE(no_child_process_inherits_the_temporary_file) {
    const TemporaryFolder folder;
    int seen = 0;
    Listener listener(never);
    listener.on_call = [&] {
        for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;  // the iterator's own descriptor is listed too
            const std::filesystem::path file = std::filesystem::read_symlink(entry.path(), gone);
            if (file.parent_path() != std::filesystem::canonical(folder.path())) continue;
            ++seen;
            BOOST_CHECK(fcntl(std::stoi(entry.path().filename().string()), F_GETFD) & FD_CLOEXEC);
        }
    };
    write_adapter_file(make_record(11), folder / "a.safetensors", &listener.progress);
    BOOST_CHECK_EQUAL(static_cast<std::size_t>(seen), listener.heard.size());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
