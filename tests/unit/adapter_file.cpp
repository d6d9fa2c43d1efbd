#include "core/storage/adapter_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <span>
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
    save_file(record, path);
    return load_file(path);
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
    const auto check_each = [&](std::int32_t &field, std::int32_t first, std::int32_t last) {
        for (field = first; field <= last; ++field) BOOST_CHECK(same(save_and_load(record), record));
        field = first;
    };
    check_each(record.selection.method, SPEFT_SELECT_RANDOM, SPEFT_SELECT_SPIEL_AG);
    record.optimizer.kind = SPEFT_OPTIMIZER_SM3;
    check_each(record.selection.method, SPEFT_SELECT_SPIEL_MA, SPEFT_SELECT_SPIEL_MA);
    record.optimizer.kind = SPEFT_OPTIMIZER_ADAM;
    check_each(record.selection.method, SPEFT_SELECT_MEPROP, SPEFT_SELECT_SCORE_FUNCTION);
    record.selection.method = SPEFT_SELECT_RANDOM;
    record.selection.random = SPEFT_RANDOM_BERNOULLI;
    record.optimizer.age = SPEFT_AGE_PER_WEIGHT;
    check_each(record.optimizer.kind, SPEFT_OPTIMIZER_ADAMW, SPEFT_OPTIMIZER_ADAM);
    check_each(record.optimizer.state, SPEFT_STATE_FLOAT32, SPEFT_STATE_BLOCKS8);
    check_each(record.selection.scope, SPEFT_SCOPE_GLOBAL, SPEFT_SCOPE_PER_ROW);
    check_each(record.selection.mean, SPEFT_MEAN_SIGNED, SPEFT_MEAN_OF_ABSOLUTES);
    record.selection.approximation_rank = 7;
    record.selection.method = SPEFT_SELECT_SPIEL_AG;
    Schedule &schedule = record.selection.schedule;
    schedule = {SPEFT_SCHEDULE_LINEAR, 100, 10, 3, 0.1, 5, SPEFT_DROP_CHANGE, false, 0, true};
    check_each(schedule.kind, SPEFT_SCHEDULE_LINEAR, SPEFT_SCHEDULE_NONE);
    check_each(schedule.drop, SPEFT_DROP_MAGNITUDE, SPEFT_DROP_CHANGE);
    record.selection.method = SPEFT_SELECT_RANDOM;
    schedule = {SPEFT_SCHEDULE_DEFAULT, 0, 10, 0, 0, 0, SPEFT_DROP_MAGNITUDE, true, 9, false};
    BOOST_CHECK(same(save_and_load(record), record));
    record.delta_type = SPEFT_DELTA_BFLOAT16;
    record.parameters[0].deltas = {1.5f, std::bit_cast<float>(0x7f810000u)};
    BOOST_CHECK(same(save_and_load(record), record));
}

BOOST_AUTO_TEST_CASE(numbers_survive_to_the_last_bit) {
    Draws draws(4);
    AdapterRecord record = make_single(make_sparse(draws, "w", {9}, {1, 8}));
    for (const double density : {0.1, 1.0 / 3.0, 0x1p-1074, 0x1.fffffffffffffp-1, 1.0, 1e-300}) {
        record.selection.density = density;
        BOOST_CHECK(same(save_and_load(record), record));
    }
    for (int i = 0; i < 200; ++i) {
        record.selection.density = static_cast<double>(draws() >> 11) * 0x1p-53;
        BOOST_CHECK(same(save_and_load(record), record));
    }
    record.selection.density = 0;
    record.selection.budget = record.selection.model_scalars = record.steps = std::numeric_limits<std::int64_t>::max();
    record.selection.seed = record.parameters[0].base_hash = std::numeric_limits<std::uint64_t>::max();
    record.parameters[0].group = std::numeric_limits<std::int32_t>::max();
    BOOST_CHECK(same(save_and_load(record), record));
    std::swap(record.selection.budget, record.selection.rank);
    BOOST_CHECK(same(save_and_load(record), record));

    for (const std::uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xffc12345u, 0x80000000u, 0xff800000u, 0x00000001u}) {
        record.parameters[0].deltas = {std::bit_cast<float>(bits), 1.0f};
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

// Names that look like the file's own tensors, or like another parameter's, stay apart.
BOOST_AUTO_TEST_CASE(names_of_parameters_never_collide) {
    Draws draws(5);
    AdapterRecord record = make_empty_record();
    const std::string suffixes[] = {".values", "deltas", "x.values"};
    for (const char *name : {"", "a", "__metadata__", ".", "indices", "training.state.moment1"}) {
        const std::string stem = name;
        if (!stem.empty()) record.parameters.push_back(make_sparse(draws, stem, {100}, draw_mask(draws, 100, 7)));
        for (const std::string &inner : suffixes) {
            record.parameters.push_back(make_sparse(draws, stem + inner, {100}, draw_mask(draws, 100, 7)));
            for (const std::string &outer : suffixes)
                record.parameters.push_back(make_dense(draws, stem + inner + outer, {3}));
        }
    }
    add_training(draws, record);
    BOOST_CHECK(same(save_and_load(record), record));
}

BOOST_AUTO_TEST_CASE(checkpoints_reload_identically) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        Draws draws(seed);
        AdapterRecord record = make_record(seed);
        add_training(draws, record);
        BOOST_CHECK(same(save_and_load(record), record));
        for (ParameterTraining &parameter : record.training->parameters) parameter.originals.clear();
        record.training->originals_known = false;
        record.training->state.clear();
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

BOOST_AUTO_TEST_CASE(reload_is_identical_in_bases) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        AdapterRecord record = make_record_in_bases(seed);
        BOOST_CHECK(same(save_and_load(record), record));
        Draws draws(seed);
        add_lazy_training(draws, record);
        BOOST_CHECK(same(save_and_load(record), record));
        record.selection.threshold = 0x1.fffffffffffffp-20;
        BOOST_CHECK(same(save_and_load(record), record));
    }
}

// What tells a basis from another, and a parameter in one from the others, is what `same` looks at.
BOOST_AUTO_TEST_CASE(records_in_other_bases_are_not_the_same) {
    const AdapterRecord record = make_record_in_bases(1);
    const auto differs = [&](const std::function<void(AdapterRecord &)> &change) {
        AdapterRecord other = record;
        change(other);
        BOOST_CHECK(!same(other, record));
    };
    differs([](AdapterRecord &r) { r.bases.pop_back(); });
    differs([](AdapterRecord &r) { r.bases[1].rows += 1; });
    differs([](AdapterRecord &r) { r.bases[1].columns += 1; });
    differs([](AdapterRecord &r) { r.bases[1].row_directions += 1; });
    differs([](AdapterRecord &r) { r.bases[1].column_directions += 1; });
    differs([](AdapterRecord &r) { r.bases[1].u.back() = -r.bases[1].u.back(); });
    differs([](AdapterRecord &r) { r.bases[1].v.back() = -r.bases[1].v.back(); });
    differs([](AdapterRecord &r) { r.parameters[0].basis.reset(); });
    differs([](AdapterRecord &r) { r.parameters[0].basis = 1; });
}

// float32 to the nearest bfloat16, by arithmetic: 8 significant bits, no denormal and no overflow among the samples.
float round_to_8_bits(float value) {
    int exponent;
    const double fraction = std::frexp(static_cast<double>(value), &exponent);
    return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8));
}

BOOST_AUTO_TEST_CASE(compact_files_round_deltas_and_nothing_else) {
    Draws draws(13);
    AdapterRecord record = make_record(13);
    record.parameters[2].scalar_type = SPEFT_SCALAR_FLOAT32;
    for (ParameterRecord &parameter : record.parameters)
        for (float &delta : parameter.deltas)
            delta = static_cast<float>(static_cast<double>(draws() >> 11) * 0x1p-53 - 0.5);
    const ParameterRecord &head = record.parameters[1];
    record.parameters[1].scalar_type = SPEFT_SCALAR_BFLOAT16;
    const TemporaryFolder folder;
    save_file(record, folder / "a", nullptr, SPEFT_FORMAT_COMPACT);

    AdapterRecord expected = record;
    for (ParameterRecord &parameter : expected.parameters)
        if (parameter.role == SPEFT_ROLE_SPARSE || parameter.name == head.name)
            std::ranges::transform(parameter.deltas, parameter.deltas.begin(), round_to_8_bits);
    BOOST_CHECK(same(load_file(folder / "a"), expected));
    save_file(expected, folder / "again", nullptr, SPEFT_FORMAT_COMPACT);
    BOOST_CHECK(read_bytes(folder / "again") == read_bytes(folder / "a"));
}

BOOST_AUTO_TEST_CASE(compact_files_keep_bases_exactly) {
    AdapterRecord record = make_record_in_bases(3);
    for (ParameterRecord &parameter : record.parameters)
        for (std::size_t j = 0; j < parameter.deltas.size(); ++j)
            parameter.deltas[j] = 1.0f + static_cast<float>(j) * 0x1.01p-3f;
    const TemporaryFolder folder;
    save_file(record, folder / "a", nullptr, SPEFT_FORMAT_COMPACT);
    AdapterRecord expected = record;
    for (ParameterRecord &parameter : expected.parameters)
        if (parameter.role == SPEFT_ROLE_SPARSE)
            std::ranges::transform(parameter.deltas, parameter.deltas.begin(), round_to_8_bits);
    BOOST_CHECK(same(load_file(folder / "a"), expected));
}

BOOST_AUTO_TEST_CASE(bytes_in_memory_are_read_like_a_file) {
    const TemporaryFolder folder;
    const AdapterRecord record = make_record(14);
    save_file(record, folder / "a");
    const std::string bytes = read_bytes(folder / "a");
    BOOST_CHECK(same(read_adapter_file(MemorySource(std::as_bytes(std::span(bytes))), nullptr), record));
    const MemorySource half(std::as_bytes(std::span(bytes)).first(bytes.size() / 2));
    expect_failure(SPEFT_CORRUPT, "cannot load the given bytes", [&] { read_adapter_file(half, nullptr); });
}

// A sentence encoder of 6 layers, 384 wide, at the smallest density that the bounds speak of: masks of 147 to 589
// scalars under long names, the hardest case there is for what a file takes beside its weights.
AdapterRecord make_small_encoder(std::initializer_list<const char *> matrices) {
    Draws draws(6);
    AdapterRecord record = make_empty_record();
    record.selection.density = 0.001;
    for (int layer = 0; layer < 6; ++layer) {
        for (const std::string matrix : matrices) {
            const std::string name = "encoder.layer." + std::to_string(layer) + "." + matrix + ".weight";
            std::vector<std::int64_t> shape = {384, 384};
            if (matrix == "intermediate.dense") shape[0] = 1536;
            if (matrix == "output.dense") shape[1] = 1536;
            const auto size = static_cast<std::uint32_t>(shape[0] * shape[1]);
            ParameterRecord parameter = make_sparse(draws, name, shape, draw_mask(draws, size, size / 1000));
            parameter.scalar_type = SPEFT_SCALAR_BFLOAT16;
            record.parameters.push_back(std::move(parameter));
        }
    }
    return record;
}

double bytes_a_weight(const AdapterRecord &record, std::int32_t format) {
    const TemporaryFolder folder;
    save_file(record, folder / "a", nullptr, format);
    return static_cast<double>(std::filesystem::file_size(folder / "a")) / static_cast<double>(count_trained(record));
}

BOOST_AUTO_TEST_CASE(is_small) {
    const AdapterRecord attention = make_small_encoder({"attention.self.query", "attention.self.key",
                                                        "attention.self.value", "attention.output.dense"});
    BOOST_CHECK_LE(bytes_a_weight(attention, SPEFT_FORMAT_EXACT), 6.5);
    const AdapterRecord all =
        make_small_encoder({"attention.self.query", "attention.self.key", "attention.self.value",
                            "attention.output.dense", "intermediate.dense", "output.dense"});
    BOOST_CHECK_LE(bytes_a_weight(all, SPEFT_FORMAT_EXACT), 6.5);
    BOOST_CHECK_LE(bytes_a_weight(all, SPEFT_FORMAT_COMPACT), 4);
    BOOST_TEST_MESSAGE("attention: " << bytes_a_weight(attention, SPEFT_FORMAT_EXACT) << " "
                                     << bytes_a_weight(attention, SPEFT_FORMAT_COMPACT) << ", all: "
                                     << bytes_a_weight(all, SPEFT_FORMAT_EXACT) << " "
                                     << bytes_a_weight(all, SPEFT_FORMAT_COMPACT));
}

// The format itself, written out: files of today must be read by the versions of tomorrow.
BOOST_AUTO_TEST_CASE(a_small_file_has_exactly_these_bytes) {
    AdapterRecord record = make_empty_record();
    record.selection.density = 0.1;
    record.selection.seed = 7;
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
    save_file(record, folder / "a");

    // The checksum was computed from the text of docs/file-format.md, not by this library.
    std::string header =
        R"({"__metadata__":{"speft.adapter":"{\"method\":\"gradient\",\"scope\":\"global\",\"random\":\"exact\",)"
        R"(\"density\":0.1,\"budget\":0,\"rank\":0,\"model_scalars\":0,\"seed\":\"7\",)"
        R"(\"delta_type\":\"float32\",\"optimizer\":\"adamw\",\"age\":\"common\",\"steps\":3,)"
        R"(\"type\":\"float32\",\"parameters\":[{\"name\":\"w\",\"shape\":[2,40000],\"count\":2},)"
        R"({\"name\":\"b\",\"shape\":[1],\"type\":\"bfloat16\",\"group\":1,\"role\":\"dense\"}]}",)"
        R"("speft.checksum":"64fc0a5870b01a2a","speft.format":"2","speft.version":")" SPEFT_VERSION R"("},)"
        R"("b.values":{"data_offsets":[8,12],"dtype":"F32","shape":[1]},)"
        R"("base_hashes":{"data_offsets":[0,8],"dtype":"U64","shape":[1]},)"
        R"("deltas":{"data_offsets":[12,20],"dtype":"F32","shape":[2]},)"
        R"("indices":{"data_offsets":[20,25],"dtype":"U8","shape":[5]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = header.size();
    const std::string data = {'\xef', '\xcd', '\xab', '\0', '\0', '\0', '\0',   '\0',   '\0',
                              '\0',   '\0',   '\x3f', '\0', '\0', '\x80', '\x3f', '\0',   '\0',
                              '\0',   '\xc0', '\1',   '\x80', '\0', '\0', '\x9'};
    std::string expected(reinterpret_cast<const char *>(&length), sizeof length);
    expected += header + data;
    BOOST_CHECK_EQUAL(read_bytes(folder / "a"), expected);
}

BOOST_AUTO_TEST_CASE(equal_records_make_equal_files_with_aligned_data) {
    const TemporaryFolder folder;
    save_file(make_record(7), folder / "a");
    save_file(make_record(7), folder / "b");
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
        expect_failure(SPEFT_INVALID_ARGUMENT, words, [&] { save_file(record, path); });
        BOOST_CHECK(folder.list().empty());
    };
    refused("method", [](AdapterRecord &r) { r.selection.method = 0; });
    refused("scope", [](AdapterRecord &r) { r.selection.scope = 3; });
    refused("random", [](AdapterRecord &r) { r.selection.random = -1; });
    refused("optimizer", [](AdapterRecord &r) { r.optimizer.kind = 0; });
    refused("age", [](AdapterRecord &r) { r.optimizer.age = 2; });
    refused("got nan", [](AdapterRecord &r) { r.selection.density = std::nan(""); });
    refused("density", [](AdapterRecord &r) { r.selection.density = 1.5; });
    refused("budget", [](AdapterRecord &r) { r.selection.budget = -1; });
    refused("more than one", [](AdapterRecord &r) { r.selection.budget = 1; });
    refused("more than one", [](AdapterRecord &r) { r.selection.rank = 1; });
    refused("rank", [](AdapterRecord &r) { r.selection.rank = -1; });
    refused("model_scalars", [](AdapterRecord &r) { r.selection.model_scalars = -1; });
    refused("delta type", [](AdapterRecord &r) { r.delta_type = 2; });
    refused("a delta that bfloat16 does not hold", [](AdapterRecord &r) { r.delta_type = SPEFT_DELTA_BFLOAT16; });
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
    refused("must be SPEFT_OPTIMIZER_SM3", [](AdapterRecord &r) {
        r.selection.method = SPEFT_SELECT_SPIEL_MA;
        r.parameters.resize(1);
    });
    const auto refused_training = [&](const std::string &words, const std::function<void(TrainingRecord &)> &spoil) {
        refused(words, [&](AdapterRecord &r) {
            Draws draws(8);
            add_training(draws, r);
            spoil(*r.training);
        });
    };
    refused_training("of 5 parameters, expected 6", [](TrainingRecord &t) { t.parameters.pop_back(); });
    refused_training("79 bytes of originals, expected 80", [](TrainingRecord &t) {
        t.parameters[0].originals.pop_back();
    });
    refused_training("expected 0", [](TrainingRecord &t) { t.originals_known = false; });
    refused_training("0 values of a gradient, expected 96", [](TrainingRecord &t) { t.parameters[1].gradient = {}; });
    refused_training("1 values of a gradient, expected 0", [](TrainingRecord &t) { t.parameters[0].gradient = {1}; });

    // Of masks that have moved: 40 scalars of the first parameter are in the file.
    refused_training("must rise and stay below 40, got 40", [](TrainingRecord &t) { t.parameters[0].settled = {40}; });
    refused_training("must rise and stay below 40, got 3", [](TrainingRecord &t) { t.parameters[0].settled = {3, 3}; });
    refused_training("3 last deltas, expected 38", [](TrainingRecord &t) {
        t.parameters[0].settled = {3, 7};
        t.parameters[0].last_deltas = {1, 2, 3};
    });
    refused_training("candidates of 1 parameters, expected 6", [](TrainingRecord &t) { t.candidates.resize(1); });
    const auto refused_candidates = [&](const std::string &words, const CandidateRecord &candidates) {
        refused_training(words, [&](TrainingRecord &t) {
            t.candidates.resize(6);
            t.candidates[0] = candidates;
        });
    };
    refused_candidates("must rise and stay below 3072, got 3072", {{3072}, {1}, {1}, {}});
    refused_candidates("1 sums of candidates, expected 0", {{}, {1}, {}, {}});
    refused_candidates("1 squares of candidates, expected 0", {{}, {}, {1}, {}});
    refused_candidates("2 gradients of candidates, expected 0", {{}, {}, {}, {1, 2}});
    const std::uint32_t selected = make_record(8).parameters[0].indices[5];
    refused_candidates("is selected already", {{selected}, {1}, {1}, {}});
}

BOOST_AUTO_TEST_CASE(what_is_inconsistent_in_a_basis_is_not_written) {
    const TemporaryFolder folder;
    const auto refused = [&](const std::string &words, const std::function<void(AdapterRecord &)> &spoil) {
        AdapterRecord record = make_record_in_bases(8);
        Draws draws(8);
        add_lazy_training(draws, record);
        spoil(record);
        expect_failure(SPEFT_INVALID_ARGUMENT, words, [&] { save_file(record, folder / "a"); });
        BOOST_CHECK(folder.list().empty());
    };
    refused("has no basis", [](AdapterRecord &r) { r.parameters[0].basis.reset(); });
    refused("no parameter is in basis 1", [](AdapterRecord &r) { r.parameters.erase(r.parameters.begin() + 1); });
    refused("no parameter is in basis 2", [](AdapterRecord &r) { r.bases.push_back(r.bases.back()); });
    refused("has the basis 2 of 2", [](AdapterRecord &r) { r.parameters[1].basis = 2; });
    refused("not that of its basis", [](AdapterRecord &r) { r.parameters[1].basis = 0; });
    refused("is no sparse one", [](AdapterRecord &r) { r.parameters[3].basis = 0; });
    refused("is no sparse one", [](AdapterRecord &r) { r.selection.method = SPEFT_SELECT_MEPROP; });
    refused("0 directions of 9 columns", [](AdapterRecord &r) { r.bases[0].column_directions = 0; });
    refused("21 directions of 20 rows", [](AdapterRecord &r) { r.bases[1].row_directions = 21; });
    refused("another length", [](AdapterRecord &r) { r.bases[0].u.pop_back(); });
    refused("another length", [](AdapterRecord &r) { r.bases[0].v.push_back(0); });
    refused("stay below 15", [](AdapterRecord &r) { r.parameters[1].indices.back() = 15; });
    refused("2 bytes of originals, expected 0",
            [](AdapterRecord &r) { r.training->parameters[0].originals.resize(2); });
    refused("threshold", [](AdapterRecord &r) { r.selection.threshold = -1; });
    refused("threshold", [](AdapterRecord &r) { r.selection.threshold = std::nan(""); });
    refused("are settled", [](AdapterRecord &r) {
        r.training->parameters[1].settled = {2};
        r.training->parameters[1].gradient.pop_back();
    });
    refused("SPEFT_DELTA_FLOAT32", [](AdapterRecord &r) { r.delta_type = SPEFT_DELTA_BFLOAT16; });
    refused("SPEFT_OPTIMIZER_ADAMW or _ADAM", [](AdapterRecord &r) { r.optimizer.kind = SPEFT_OPTIMIZER_SGD; });
    refused("8 bits", [](AdapterRecord &r) { r.optimizer.state = SPEFT_STATE_BLOCKS8; });
}

BOOST_AUTO_TEST_CASE(progress_goes_from_nothing_to_all_in_small_pieces) {
    Draws draws(9);
    const AdapterRecord record = make_single(make_dense(draws, "head", {200, 1000}));
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    Listener listener(never);
    save_file(record, path, &listener.progress);
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

BOOST_AUTO_TEST_CASE(reading_reports_the_data_and_can_be_cancelled) {
    Draws draws(12);
    AdapterRecord record = make_record(12);
    record.parameters.push_back(make_dense(draws, "head", {200, 1000}));
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    save_file(record, path);
    Listener listener(never);
    BOOST_CHECK(same(load_file(path, &listener.progress), record));
    BOOST_CHECK_EQUAL(listener.heard.front().first, 0);
    BOOST_CHECK_GT(listener.heard.back().second, 800000);
    BOOST_CHECK_EQUAL(listener.heard.back().first, listener.heard.back().second);
    for (std::size_t call = 1; call < listener.heard.size(); ++call) {
        BOOST_CHECK_EQUAL(listener.heard[call].second, listener.heard[0].second);
        BOOST_CHECK_GT(listener.heard[call].first, listener.heard[call - 1].first);
        BOOST_CHECK_LE(listener.heard[call].first - listener.heard[call - 1].first, 65536);
    }
    for (std::size_t call = 0; call < listener.heard.size(); ++call) {
        Listener canceller(call);
        expect_failure(SPEFT_CANCELLED, "reading '" + path + "'", [&] { load_file(path, &canceller.progress); });
        BOOST_CHECK_EQUAL(canceller.heard.size(), call + 1);
    }
}

BOOST_AUTO_TEST_CASE(cancelling_at_any_call_leaves_the_old_file) {
    Draws draws(10);
    const AdapterRecord old = make_record(10);
    const AdapterRecord record = make_single(make_dense(draws, "head", {100, 1000}));
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    save_file(old, path);
    Listener counter(never);
    save_file(record, folder / "other", &counter.progress);
    std::filesystem::remove(folder / "other");
    for (std::size_t call = 0; call < counter.heard.size(); ++call) {
        Listener listener(call);
        expect_failure(SPEFT_CANCELLED, "writing '" + path + "'",
                       [&] { save_file(record, path, &listener.progress); });
        BOOST_CHECK_EQUAL(listener.heard.size(), call + 1);
        BOOST_CHECK_EQUAL(folder.list().size(), 1u);
        BOOST_CHECK(same(load_file(path), old));
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
    save_file(make_record(11), folder / "a.safetensors", &listener.progress);
    BOOST_CHECK_EQUAL(static_cast<std::size_t>(seen), listener.heard.size());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
