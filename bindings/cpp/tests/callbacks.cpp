// Callbacks: what they are given, what they throw, and when they are let go.
#include "host.h"

#include <atomic>
#include <cstdlib>
#include <thread>

using namespace speft;
using host::choose;

namespace {

struct Stop : std::runtime_error {
    Stop() : std::runtime_error("stop") {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(callbacks)

BOOST_AUTO_TEST_CASE(progress_cancels_and_throws) {
    Context context = host::make_context();
    host::Model model;
    const auto before = model.weights;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    CHECK_REFUSED(cancelled, "", adapter.select([](std::int64_t, std::int64_t) { return true; }));
    BOOST_CHECK_THROW(adapter.select([](std::int64_t, std::int64_t) -> bool { throw Stop(); }), Stop);
    BOOST_TEST(!adapter.state().selected);
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], before[i]));
    std::int64_t last = -1, whole = -2;
    adapter.select([&](std::int64_t done, std::int64_t total) {
        BOOST_TEST(done >= last);
        last = done;
        whole = total;
        return false;
    });
    BOOST_TEST(last == whole);
    SaveOptions options;
    options.progress = [](std::int64_t, std::int64_t) -> bool { throw Stop(); };
    BOOST_CHECK_THROW(adapter.save([](span<const std::byte>) {}, options), Stop);
}

BOOST_AUTO_TEST_CASE(a_score_function_throws) {
    Context context = host::make_context();
    host::Model model;
    AdapterOptions options = choose(Method::score_function);
    bool fail = true;
    options.selection.score = [&](std::int64_t, const TensorView &, const TensorView *,
                                  const MutableTensorView &scores) {
        if (fail) throw Stop();
        float score = 0;
        for (float &value : scores.values<float>()) value = ++score;
    };
    Adapter adapter = model.make_adapter(context, options);
    BOOST_CHECK_THROW(adapter.select(), Stop);
    fail = false;
    adapter.select();
    BOOST_TEST(adapter.mask(1).back() == 127);
}

BOOST_AUTO_TEST_CASE(a_writer_throws) {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    adapter.select();
    BOOST_CHECK_THROW(adapter.save([](span<const std::byte>) { throw Stop(); }), Stop);
    adapter.save([](span<const std::byte> bytes) { BOOST_TEST(bytes.size() > 0u); });
}

BOOST_AUTO_TEST_CASE(an_allocator_is_used_and_let_go) {
    struct Pool {
        std::int64_t bytes = 0;
        std::int64_t most = 0;
        bool full = false;
    };
    const auto pool = std::make_shared<Pool>();
    ContextOptions options;
    options.allocator = Allocator{
        [pool](std::uint64_t bytes, std::uint64_t alignment, void *) -> void * {
            if (pool->full) return nullptr;
            void *memory = nullptr;
            if (posix_memalign(&memory, alignment, std::max<std::uint64_t>(bytes, 1)) != 0) return nullptr;
            pool->bytes += static_cast<std::int64_t>(bytes);
            pool->most = std::max(pool->most, pool->bytes);
            return memory;
        },
        [pool](void *memory, std::uint64_t bytes, void *) {
            pool->bytes -= static_cast<std::int64_t>(bytes);
            std::free(memory);
        }};
    {
        Context context(options);
        options.allocator.reset();
        host::Model model;
        Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
        context.close();
        pool->full = true;
        CHECK_REFUSED(out_of_memory, "", adapter.select());
        pool->full = false;
        adapter.select();
        BOOST_TEST(pool->most > 0);
        BOOST_TEST(pool.use_count() > 1);
    }
    BOOST_TEST(pool->bytes == 0);
    BOOST_TEST(pool.use_count() == 1);  // the library has released its copy
}

BOOST_AUTO_TEST_CASE(an_allocator_throws) {
    ContextOptions options;
    bool fail = false;
    options.allocator = Allocator{[&](std::uint64_t bytes, std::uint64_t alignment, void *) -> void * {
                                      if (fail) throw Stop();
                                      void *memory = nullptr;
                                      BOOST_REQUIRE(posix_memalign(&memory, alignment, bytes + 1) == 0);
                                      return memory;
                                  },
                                  [](void *memory, std::uint64_t, void *) { std::free(memory); }};
    Context context(options);
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    fail = true;
    BOOST_CHECK_THROW(adapter.select(), Stop);
    fail = false;
    adapter.select();
}

BOOST_AUTO_TEST_CASE(a_failed_context_leaves_callbacks_with_the_program) {
    const auto alive = std::make_shared<int>();
    ContextOptions options;
    options.backend = "no such";
    options.logger = Logger{LogLevel::debug, [alive](LogLevel, std::string_view) {}};
    CHECK_REFUSED(unavailable, "no such", Context{options});
    BOOST_TEST(alive.use_count() == 2);  // `alive` itself, and the one in `options`
}

BOOST_AUTO_TEST_CASE(a_logger_hears_and_throws) {
    std::vector<std::string> lines;
    const auto alive = std::make_shared<int>();
    bool fail = false;
    ContextOptions options;
    options.logger = Logger{LogLevel::debug, [&, alive](LogLevel level, std::string_view line) {
                                BOOST_CHECK(level == LogLevel::info);
                                lines.emplace_back(line);
                                if (fail) throw Stop();
                            }};
    { const Context context(options); }
    BOOST_REQUIRE(!lines.empty());
    BOOST_TEST(host::contains(lines[0], "cpu"));
    fail = true;
    BOOST_CHECK_THROW(Context{options}, Stop);
    options.logger->level = LogLevel::warning;  // what it would hear is below
    { const Context context(options); }
    options.logger.reset();
    BOOST_TEST(alive.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(the_programs_own_threads) {
    std::atomic<int> loops{0};
    ContextOptions options;
    options.parallel_for = ParallelFor{2, [&](std::int64_t count, const std::function<void(std::int64_t)> &body) {
                                           ++loops;
                                           std::vector<std::thread> threads;
                                           for (std::int64_t i = 0; i < count; ++i) threads.emplace_back(body, i);
                                           for (std::thread &thread : threads) thread.join();
                                       }};
    Context context(options), alone = host::make_context();
    const std::vector<Parameter> large = {{"w", {512, 512}}};
    std::vector<std::vector<std::int64_t>> masks;
    for (Context *each : {&context, &alone}) {
        auto weights = host::make_values(512 * 512, 3);
        Adapter adapter(*each, large, choose(Method::magnitude, 1000));
        adapter.bind(0, view(weights, {512, 512}));
        adapter.select();
        masks.push_back(adapter.mask(0));
    }
    BOOST_TEST(loops > 0);
    BOOST_TEST(masks[0] == masks[1], boost::test_tools::per_element());
}

// A callback may use another context, whose exceptions are its own.
BOOST_AUTO_TEST_CASE(calls_nest_over_contexts) {
    Context outer = host::make_context(), inner = host::make_context();
    host::Model one, two;
    Adapter adapter = one.make_adapter(outer, choose(Method::magnitude));
    Adapter other = two.make_adapter(inner, choose(Method::magnitude));
    bool met = false;
    adapter.select([&](std::int64_t, std::int64_t) {
        if (met) return false;
        met = true;
        BOOST_CHECK_THROW(other.select([](std::int64_t, std::int64_t) -> bool { throw Stop(); }), Stop);
        other.select();
        return false;
    });
    BOOST_TEST(met);
    BOOST_TEST(adapter.state().selected);
    BOOST_TEST(other.state().selected);
}

// The adapter goes while its own score function runs: library and header hold it to the end of the call.
BOOST_AUTO_TEST_CASE(an_adapter_closed_by_its_callback) {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter;
    AdapterOptions options = choose(Method::score_function);
    const std::string told = "still here";
    std::string heard;
    options.selection.score = [&adapter, &heard, told](std::int64_t, const TensorView &, const TensorView *,
                                                       const MutableTensorView &scores) {
        adapter.close();
        heard = told;
        for (float &value : scores.values<float>()) value = 1;
    };
    adapter = model.make_adapter(context, options);
    options = {};
    adapter.select();
    BOOST_TEST(heard == told);
    BOOST_TEST(!adapter);
}

BOOST_AUTO_TEST_SUITE_END()
