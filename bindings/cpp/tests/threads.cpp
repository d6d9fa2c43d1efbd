// Contexts side by side, and two threads at one handle.
#include "host.h"

#include <thread>

using namespace speft;
using host::choose;

BOOST_AUTO_TEST_SUITE(threads)

namespace {

std::vector<std::vector<float>> train_alone(std::uint32_t seed) {
    Context context = host::make_context(2);
    host::Model model(seed);
    Adapter adapter = model.make_adapter(context, choose(Method::snip));
    model.observe(adapter, seed);
    adapter.select();
    for (std::uint32_t step = 0; step < 20; ++step) model.train(adapter, step);
    return model.weights;
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_contexts_give_what_they_give_alone) {
    const auto first = train_alone(1), second = train_alone(2);
    for (int round = 0; round < 5; ++round) {
        std::vector<std::vector<float>> one, other;
        std::thread thread([&] { one = train_alone(1); });
        other = train_alone(2);
        thread.join();
        for (std::size_t i = 0; i < 3; ++i) {
            BOOST_TEST(host::same_bits(one[i], first[i]));
            BOOST_TEST(host::same_bits(other[i], second[i]));
        }
    }
}

// The first call is held open by its own callback while the second comes: no race decides.
BOOST_AUTO_TEST_CASE(a_second_thread_gets_busy) {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    int refused = 0;
    adapter.select([&](std::int64_t, std::int64_t) {
        std::thread([&] {
            try {
                adapter.step();
            } catch (const busy &failure) {
                refused += failure.status() == SPEFT_BUSY;
            }
            try {
                context.synchronize();
            } catch (const busy &) {
                ++refused;
            }
        }).join();
        return refused < 2;  // else: go on
    });
    BOOST_TEST(refused >= 2);
    BOOST_TEST(adapter.state().selected);

    // From inside of the callback itself it is the same.
    host::Model other(7);
    Adapter second = other.make_adapter(context, choose(Method::magnitude));
    BOOST_CHECK_THROW(second.select([&](std::int64_t, std::int64_t) -> bool {
        second.state();
        return false;
    }),
                      busy);
    second.select();
}

BOOST_AUTO_TEST_CASE(handles_end_in_other_threads) {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    adapter.select();
    std::thread([taken = std::move(adapter)]() mutable { taken.close(); }).join();
    std::thread([taken = std::move(context)]() mutable { taken.close(); }).join();
    BOOST_TEST(!context);
}

BOOST_AUTO_TEST_SUITE_END()
