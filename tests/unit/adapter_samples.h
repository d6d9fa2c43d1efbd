// What the tests of storage share: a folder that goes away, whole files as bytes, sample records, and expecting a
// Failure.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "core/base/random.h"
#include "core/base/status.h"
#include "core/storage/adapter_file.h"
#include "core/storage/adapter_record.h"
#include "core/storage/atomic_file.h"
#include "core/storage/byte_source.h"
#include "speft/adapter.h"
#include "speft/backend.h"
#include "speft/optimizer.h"
#include "speft/selection.h"
#include "speft/storage.h"

namespace speft::testing {

class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "speft-test-XXXXXX").string();
        if (!mkdtemp(name.data())) throw std::system_error(errno, std::generic_category(), name);
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder &) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }

    const std::filesystem::path &path() const { return path_; }
    std::string operator/(const char *name) const { return (path_ / name).string(); }

    // The names of what is in it, sorted.
    std::vector<std::string> list() const {
        std::vector<std::string> names;
        for (const auto &entry : std::filesystem::directory_iterator(path_))
            names.push_back(entry.path().filename().string());
        std::ranges::sort(names);
        return names;
    }

private:
    std::filesystem::path path_;
};

inline std::string read_bytes(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline void save_file(const AdapterRecord &record, const std::string &path, const speft_progress *progress = nullptr,
                      std::int32_t format = SPEFT_FORMAT_EXACT) {
    AtomicFile file(path);
    write_adapter_file(record, format, file, progress);
}

inline AdapterRecord load_file(const std::string &path, const speft_progress *progress = nullptr) {
    return read_adapter_file(FileSource(path), progress);
}

// Draws in order from one key.
class Draws {
public:
    explicit Draws(std::uint64_t key) : key_(key) {}
    std::uint64_t operator()() { return draw64(key_, counter_++); }
    std::uint64_t below(std::uint64_t limit) { return (*this)() % limit; }

private:
    std::uint64_t key_;
    std::uint64_t counter_ = 0;
};

// Any bits, NaN payloads and denormals among them.
inline std::vector<float> draw_floats(Draws &draws, std::size_t count) {
    std::vector<float> values(count);
    for (float &value : values) value = std::bit_cast<float>(static_cast<std::uint32_t>(draws()));
    return values;
}

// `count` of `size` scalars, by the library's own exact draw.
inline std::vector<std::uint32_t> draw_mask(Draws &draws, std::uint32_t size, std::uint32_t count) {
    std::vector<std::uint32_t> indices;
    if (count == 0) return indices;
    const Permutation permutation(draws(), size);
    for (std::uint32_t i = 0; i < count; ++i) indices.push_back(permutation(i));
    std::ranges::sort(indices);
    return indices;
}

inline ParameterRecord make_sparse(Draws &draws, std::string name, std::vector<std::int64_t> shape,
                                   std::vector<std::uint32_t> indices) {
    ParameterRecord parameter;
    parameter.name = std::move(name);
    parameter.shape = std::move(shape);
    parameter.base_hash = draws();
    parameter.deltas = draw_floats(draws, indices.size());
    parameter.indices = std::move(indices);
    return parameter;
}

inline ParameterRecord make_dense(Draws &draws, std::string name, std::vector<std::int64_t> shape) {
    std::size_t size = 1;
    for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
    ParameterRecord parameter;
    parameter.name = std::move(name);
    parameter.shape = std::move(shape);
    parameter.role = SPEFT_ROLE_DENSE;
    parameter.deltas = draw_floats(draws, size);
    return parameter;
}

// Options only.
inline AdapterRecord make_empty_record() {
    AdapterRecord record;
    record.selection.method = SPEFT_SELECT_GRADIENT;
    record.selection.density = 0.005;
    record.optimizer.kind = SPEFT_OPTIMIZER_ADAMW;
    return record;
}

// A little of everything: both roles, all types, an empty mask, an empty shape, a scalar, a name in UTF-8.
inline AdapterRecord make_record(std::uint64_t seed) {
    Draws draws(make_key(seed, "record"));
    AdapterRecord record = make_empty_record();
    record.selection.method = SPEFT_SELECT_SNIP;
    record.selection.scope = SPEFT_SCOPE_PER_TENSOR;
    record.optimizer.state = SPEFT_STATE_BLOCKS8;
    record.selection.seed = draws();
    record.steps = static_cast<std::int64_t>(draws.below(100000));
    record.parameters.push_back(make_sparse(draws, "encoder.0.query.weight", {64, 48}, draw_mask(draws, 3072, 40)));
    record.parameters.push_back(make_dense(draws, "head.weight", {2, 48}));
    record.parameters.push_back(make_sparse(draws, "größe \"quoted\"\n", {200000}, {0, 65536, 199999}));
    record.parameters.push_back(make_sparse(draws, "untouched", {7, 3, 2}, {}));
    record.parameters.push_back(make_dense(draws, "temperature", {}));
    record.parameters.push_back(make_dense(draws, "nothing", {0, 5}));
    record.parameters[0].scalar_type = SPEFT_SCALAR_BFLOAT16;
    record.parameters[2].scalar_type = SPEFT_SCALAR_FLOAT16;
    record.parameters[1].group = 1;
    return record;
}

// Three parameters in two bases, one of them whole, the other cut on both sides; an empty one, which is in none; and a
// dense one.
inline AdapterRecord make_record_in_bases(std::uint64_t seed) {
    Draws draws(make_key(seed, "record in bases"));
    AdapterRecord record = make_empty_record();
    record.selection.method = SPEFT_SELECT_SPARSEGRAD;
    record.selection.seed = draws();
    record.steps = static_cast<std::int64_t>(draws.below(100000));
    for (const auto &[rows, columns, row_directions, column_directions] :
         {std::array<std::uint64_t, 4>{6, 9, 6, 9}, std::array<std::uint64_t, 4>{20, 7, 5, 3}}) {
        BasisRecord &basis = record.bases.emplace_back();
        basis.rows = rows;
        basis.columns = columns;
        basis.row_directions = row_directions;
        basis.column_directions = column_directions;
        basis.u = draw_floats(draws, column_directions * columns);
        basis.v = draw_floats(draws, row_directions * rows);
    }
    const auto add = [&](const char *name, std::size_t number, std::uint32_t count) {
        const BasisRecord &basis = record.bases[number];
        const auto size = static_cast<std::uint32_t>(basis.row_directions * basis.column_directions);
        record.parameters.push_back(
            make_sparse(draws, name, {static_cast<std::int64_t>(basis.rows), static_cast<std::int64_t>(basis.columns)},
                        draw_mask(draws, size, count)));
        record.parameters.back().basis = number;
    };
    add("0.up", 0, 11);
    add("0.down", 1, 15);  // all of its directions
    record.parameters.push_back(make_sparse(draws, "nothing", {0, 9}, {}));
    record.parameters.push_back(make_dense(draws, "head", {2, 3}));
    add("1.up", 0, 0);
    record.parameters[0].scalar_type = SPEFT_SCALAR_BFLOAT16;
    return record;
}

// In the middle of an accumulation, with the moments and ages of an optimizer that is lazy.
inline void add_lazy_training(Draws &draws, AdapterRecord &record) {
    const auto draw_bytes = [&](std::uint64_t count) {
        std::vector<std::byte> bytes(count);
        for (std::byte &byte : bytes) byte = static_cast<std::byte>(draws());
        return bytes;
    };
    TrainingRecord &training = record.training.emplace();
    training.originals_known = true;
    for (const ParameterRecord &parameter : record.parameters) {
        ParameterTraining &trained = training.parameters.emplace_back();
        const std::uint64_t size = parameter.scalar_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
        if (!parameter.basis) trained.originals = draw_bytes(parameter.deltas.size() * size);
        trained.received = static_cast<Received>(training.parameters.size() % 3);
        if (trained.received == Received::pending) trained.gradient = draw_floats(draws, parameter.deltas.size());
        trained.updates = static_cast<std::uint32_t>(draws.below(1000));
    }
    const std::uint64_t trained = count_trained(record);
    training.state.push_back({"ages", "U16", trained, draw_bytes(trained * 2)});
    training.state.push_back({"moment1", "BF16", trained, draw_bytes(trained * 2)});
    training.state.push_back({"moment2", "BF16", trained, draw_bytes(trained * 2)});
}

// In the middle of an accumulation, with an optimizer whose scalars are of two ages each parameter.
inline void add_training(Draws &draws, AdapterRecord &record) {
    const auto draw_bytes = [&](std::uint64_t count) {
        std::vector<std::byte> bytes(count);
        for (std::byte &byte : bytes) byte = static_cast<std::byte>(draws());
        return bytes;
    };
    TrainingRecord &training = record.training.emplace();
    training.observations = static_cast<std::int64_t>(draws.below(100));
    training.originals_known = true;
    for (const ParameterRecord &parameter : record.parameters) {
        ParameterTraining &trained = training.parameters.emplace_back();
        const std::uint64_t size = parameter.scalar_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
        trained.originals = draw_bytes(parameter.deltas.size() * size);
        trained.received = static_cast<Received>(training.parameters.size() % 3);
        if (trained.received == Received::pending) trained.gradient = draw_floats(draws, parameter.deltas.size());
        trained.updates = static_cast<std::uint32_t>(draws.below(1000));
    }
    const std::uint64_t trained = count_trained(record);
    std::vector<std::byte> births(record.parameters.size() * 2 * 4), cohorts(trained * 2);
    for (std::size_t parameter = 0; parameter < record.parameters.size(); ++parameter)
        births[8 * parameter + 4] = static_cast<std::byte>(training.parameters[parameter].updates > 0);
    for (std::uint64_t j = 0; j < trained; ++j) cohorts[2 * j] = static_cast<std::byte>(draws.below(2));
    training.state.push_back({"births", "I32", record.parameters.size() * 2, std::move(births)});
    training.state.push_back({"cohorts", "U16", trained, std::move(cohorts)});
    training.state.push_back({"moment1", "F32", trained, draw_bytes(trained * 4)});
    training.state.push_back({"moment2", "F32", trained, draw_bytes(trained * 4)});
}

inline bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
    return std::ranges::equal(a, b, {}, std::bit_cast<std::uint32_t, float>, std::bit_cast<std::uint32_t, float>);
}

inline bool same(const ParameterRecord &a, const ParameterRecord &b) {
    return a.name == b.name && a.shape == b.shape && a.scalar_type == b.scalar_type && a.role == b.role &&
           a.group == b.group && a.base_hash == b.base_hash && a.basis == b.basis && a.indices == b.indices &&
           same_bits(a.deltas, b.deltas);
}

inline bool same(const BasisRecord &a, const BasisRecord &b) {
    return a.rows == b.rows && a.columns == b.columns && a.row_directions == b.row_directions &&
           a.column_directions == b.column_directions && same_bits(a.u, b.u) && same_bits(a.v, b.v);
}

inline bool same(const ParameterTraining &a, const ParameterTraining &b) {
    return a.originals == b.originals && a.received == b.received && same_bits(a.gradient, b.gradient) &&
           a.updates == b.updates;
}

inline bool same(const StateRecord &a, const StateRecord &b) {
    return a.name == b.name && a.type == b.type && a.count == b.count && a.bytes == b.bytes;
}

inline bool same(const TrainingRecord &a, const TrainingRecord &b) {
    const auto alike = [](const auto &x, const auto &y) { return same(x, y); };
    return a.observations == b.observations && a.originals_known == b.originals_known &&
           std::ranges::equal(a.parameters, b.parameters, alike) && std::ranges::equal(a.state, b.state, alike);
}

inline bool same(const AdapterRecord &a, const AdapterRecord &b) {
    const auto alike = [](const auto &x, const auto &y) { return same(x, y); };
    const SelectionOptions &x = a.selection, &y = b.selection;
    return x.method == y.method && x.scope == y.scope && x.random == y.random &&
           std::bit_cast<std::uint64_t>(x.density) == std::bit_cast<std::uint64_t>(y.density) &&
           std::bit_cast<std::uint64_t>(x.threshold) == std::bit_cast<std::uint64_t>(y.threshold) &&
           x.budget == y.budget && x.rank == y.rank && x.model_scalars == y.model_scalars && x.seed == y.seed &&
           x.approximation_rank == y.approximation_rank && x.mean == y.mean && x.schedule == y.schedule &&
           a.delta_type == b.delta_type && a.optimizer.kind == b.optimizer.kind &&
           a.optimizer.age == b.optimizer.age && a.optimizer.state == b.optimizer.state && a.steps == b.steps &&
           std::ranges::equal(a.parameters, b.parameters, alike) && std::ranges::equal(a.bases, b.bases, alike) &&
           a.training.has_value() == b.training.has_value() && (!a.training || same(*a.training, *b.training));
}

// Checks that `action` throws a Failure of this status whose message contains `words`; gives the native code.
template <class Action>
std::int64_t expect_failure(speft_status status, const std::string &words, Action &&action) {
    try {
        action();
    } catch (const Failure &failure) {
        BOOST_CHECK_EQUAL(failure.status(), status);
        BOOST_CHECK_MESSAGE(std::string(failure.what()).find(words) != std::string::npos,
                            "the message should contain \"" << words << "\": " << failure.what());
        return failure.native_code();
    }
    BOOST_ERROR("nothing was refused; expected a message with \"" << words << "\"");
    return 0;
}

}  // namespace speft::testing
