// Saving and loading: paths, streams, bytes, writers; what is damaged, and what cannot be written.
#include "host.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>

using namespace speft;
using host::choose;

namespace {

class TemporaryFile {
public:
    TemporaryFile() {
        char name[] = "/tmp/speft-cpp-XXXXXX";
        const int file = mkstemp(name);
        BOOST_REQUIRE(file >= 0);
        close(file);
        path = name;
    }
    ~TemporaryFile() { std::remove(path.c_str()); }
    std::string path;

private:
    static void close(int file) { std::fclose(fdopen(file, "w")); }
};

std::vector<std::byte> save_to_bytes(const Adapter &adapter, const SaveOptions &options = {}) {
    std::vector<std::byte> bytes;
    adapter.save([&](span<const std::byte> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); }, options);
    return bytes;
}

struct Trained {
    Context context = host::make_context();
    host::Model model;
    std::vector<std::vector<float>> original = model.weights;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    std::vector<std::vector<float>> weights;

    Trained() {
        adapter.select();
        for (std::uint32_t step = 1; step <= 3; ++step) model.train(adapter, step);
        weights = model.weights;
    }

    void check_reloaded(Adapter loaded) {
        adapter.unmerge();
        model.bind(loaded);
        loaded.merge();
        for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], weights[i]));
        loaded.unmerge();
        for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], original[i]));
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(files)

BOOST_FIXTURE_TEST_CASE(a_path, Trained) {
    const TemporaryFile file;
    std::int64_t last = -1, whole = 0;
    SaveOptions options;
    options.progress = [&](std::int64_t done, std::int64_t total) {
        last = done;
        whole = total;
        return false;
    };
    adapter.save(file.path, options);
    BOOST_TEST(last == whole);
    BOOST_TEST(whole > 0);
    check_reloaded(Adapter::load(context, file.path));
}

BOOST_FIXTURE_TEST_CASE(a_stream, Trained) {
    std::stringstream stream;
    adapter.save(stream);
    check_reloaded(Adapter::load(context, stream));
}

BOOST_FIXTURE_TEST_CASE(bytes_of_a_writer, Trained) { check_reloaded(Adapter::load(context, save_to_bytes(adapter))); }

BOOST_FIXTURE_TEST_CASE(the_compact_form_is_smaller, Trained) {
    SaveOptions compact;
    compact.format = Format::compact;
    const auto bytes = save_to_bytes(adapter, compact);
    BOOST_TEST(bytes.size() < save_to_bytes(adapter).size());
    Adapter loaded = Adapter::load(context, bytes);
    BOOST_TEST(loaded.mask(0) == adapter.mask(0), boost::test_tools::per_element());
}

// Two runs of two steps and one of four are the same.
BOOST_AUTO_TEST_CASE(a_checkpoint_goes_on_as_if_never_stopped) {
    Context context = host::make_context();
    host::Model straight, stopped;
    Adapter one = straight.make_adapter(context, choose(Method::random));
    one.select();
    for (std::uint32_t step = 0; step < 4; ++step) straight.train(one, step);

    Adapter first = stopped.make_adapter(context, choose(Method::random));
    first.select();
    for (std::uint32_t step = 0; step < 2; ++step) stopped.train(first, step);
    const TemporaryFile file;
    first.save_checkpoint(file.path);
    std::stringstream stream;
    first.save_checkpoint(stream);
    std::string pieces;
    first.save_checkpoint([&](span<const std::byte> piece) {
        pieces.append(reinterpret_cast<const char *>(piece.data()), piece.size());
    });
    BOOST_TEST(pieces == stream.str());
    first.close();
    std::vector<std::byte> bytes(pieces.size());
    std::memcpy(bytes.data(), pieces.data(), pieces.size());
    const auto at_rest = stopped.weights;
    for (int form = 0; form < 3; ++form) {
        stopped.weights = at_rest;
        Adapter second = form == 0   ? Adapter::load_checkpoint(context, file.path)
                         : form == 1 ? Adapter::load_checkpoint(context, stream)
                                     : Adapter::load_checkpoint(context, bytes);
        stopped.bind(second);
        second.merge();
        for (std::uint32_t step = 2; step < 4; ++step) stopped.train(second, step);
        for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(stopped.weights[i], straight.weights[i]));
    }
}

// The function that scores is none of the file's.
BOOST_AUTO_TEST_CASE(a_score_function_is_given_again) {
    Context context = host::make_context();
    host::Model model;
    AdapterOptions options = choose(Method::score_function);
    options.selection.schedule.emplace();
    options.selection.schedule->reselect_every = 2;
    int calls = 0;
    options.selection.score = [&](std::int64_t, const TensorView &weights, const TensorView *,
                                  const MutableTensorView &scores) {
        ++calls;
        const auto from = weights.values<float>();
        for (std::size_t i = 0; i < from.size(); ++i) scores.values<float>()[i] = std::abs(from[i]);
    };
    Adapter adapter = model.make_adapter(context, options);
    adapter.select();
    model.train(adapter, 1);
    std::stringstream stream;
    adapter.save_checkpoint(stream);
    adapter.close();
    BOOST_TEST(calls == 2);
    LoadOptions load;
    load.score = options.selection.score;
    Adapter loaded = Adapter::load_checkpoint(context, stream, load);
    load.score = nullptr;  // the adapter has one of its own
    model.bind(loaded);
    loaded.merge();
    model.train(loaded, 2);
    BOOST_TEST(loaded.reselect().has_value());
    BOOST_TEST(calls == 4);
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_read, Trained) {
    try {
        Adapter::load(context, "/no such folder/file");
        BOOST_ERROR("a missing file was read");
    } catch (const io_failure &failure) {
        BOOST_TEST(failure.status() == SPEFT_IO);
        BOOST_TEST(failure.native_code() == ENOENT);
        BOOST_TEST(host::contains(failure.what(), "/no such folder/file"));
        BOOST_TEST(failure.backend() == "");
    }
    auto bytes = save_to_bytes(adapter);
    bytes[bytes.size() / 2] ^= std::byte{1};
    CHECK_REFUSED(corrupt, "", Adapter::load(context, bytes));
    CHECK_REFUSED(corrupt, "", Adapter::load(context, span<const std::byte>()));
    std::stringstream adapter_file;
    adapter.save(adapter_file);
    CHECK_REFUSED(invalid_argument, "state of a training", Adapter::load_checkpoint(context, adapter_file));
    LoadOptions cancel;
    cancel.progress = [](std::int64_t, std::int64_t) { return true; };
    CHECK_REFUSED(cancelled, "", Adapter::load(context, save_to_bytes(adapter), cancel));
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_written, Trained) {
    CHECK_REFUSED(io_failure, "/no such folder/file", adapter.save("/no such folder/file"));
    std::stringstream broken;
    broken.setstate(std::ios::badbit);
    CHECK_REFUSED(io_failure, "stream", adapter.save(broken));
    CHECK_REFUSED(io_failure, "stream", adapter.save_checkpoint(broken));
    CHECK_REFUSED(io_failure, "stream", Adapter::load(context, broken));
    const TemporaryFile file;
    SaveOptions compact;
    compact.format = Format::compact;
    CHECK_REFUSED(invalid_argument, "format", adapter.save_checkpoint(file.path, compact));
    check_reloaded(Adapter::load(context, save_to_bytes(adapter)));  // nothing was lost
}

BOOST_FIXTURE_TEST_CASE(another_base_model_is_refused, Trained) {
    Adapter loaded = Adapter::load(context, save_to_bytes(adapter));
    host::Model other(50);
    other.bind(loaded);
    const auto before = other.weights;
    CHECK_REFUSED(invalid_argument, "query.weight", loaded.merge());
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(other.weights[i], before[i]));
}

BOOST_AUTO_TEST_SUITE_END()
