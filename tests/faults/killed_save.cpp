// A process that is killed while it saves leaves the whole old file or the whole new one. The moments are counted in
// calls of the progress callback, so that they are the same in every run: before the first byte, after each piece,
// and before the sync and the rename.
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <sys/wait.h>

#include "core/storage/adapter_file.h"
#include "tests/faults/child.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

// Generation g of the adapter that the doomed process saves over and over; every one differs.
AdapterRecord make_generation(std::uint64_t generation) {
    Draws draws(make_key(generation, "generation"));
    AdapterRecord record = make_empty_record();
    record.steps = static_cast<std::int64_t>(generation);
    record.parameters.push_back(make_sparse(draws, "w", {1000, 1000}, draw_mask(draws, 1000000, 50000)));
    record.parameters.push_back(make_dense(draws, "head", {100, 1000}));
    return record;
}

struct Countdown {
    static std::int32_t count(void *user, std::int64_t, std::int64_t) {
        if (static_cast<Countdown *>(user)->left-- == 0) std::raise(SIGKILL);
        return 0;
    }

    std::uint64_t left;
    speft_progress progress{sizeof(speft_progress), this, count};
};

constexpr std::uint64_t uncounted = ~std::uint64_t{0};

}  // namespace

BOOST_AUTO_TEST_SUITE(killed_save)

BOOST_AUTO_TEST_CASE(leaves_the_last_whole_generation) {
    constexpr std::uint64_t generations = 4, kills = 200;
    std::vector<AdapterRecord> records;
    for (std::uint64_t generation = 0; generation <= generations; ++generation)
        records.push_back(make_generation(generation));

    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    Countdown counter{uncounted};
    save_file(records[0], path, &counter.progress);
    const std::uint64_t calls = uncounted - counter.left;  // of one save: all generations have as many pieces
    BOOST_REQUIRE_GE(calls, 10u);

    Draws draws(30);
    for (std::uint64_t kill = 0; kill < kills; ++kill) {
        // Every moment of a save comes up; which save it hits is drawn.
        const std::uint64_t moment = kill % calls + calls * draws.below(generations);
        save_file(records[0], path);
        const int status = wait_for_child([&] {
            Countdown countdown{moment};
            for (std::uint64_t generation = 1; generation <= generations; ++generation)
                save_file(records[generation], path, &countdown.progress);
        });
        BOOST_TEST_CONTEXT("killed at call " << moment << ", " << calls << " a save") {
            BOOST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            BOOST_CHECK(same(load_file(path), records[moment / calls]));
        }
    }
    // What the dead left behind does not stand in the way of the next save.
    BOOST_CHECK_EQUAL(folder.list().size(), 1 + kills);
    save_file(records[1], path);
    BOOST_CHECK(same(load_file(path), records[1]));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
