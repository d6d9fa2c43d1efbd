// Ten thousand adapters, each with its life.
#include "host.h"

#include <fstream>
#include <stdexcept>

#include <unistd.h>

using namespace speft;

BOOST_AUTO_TEST_SUITE(many)

namespace {

std::int64_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::int64_t pages = 0, resident = 0;
    BOOST_REQUIRE(file >> pages >> resident);
    return resident * sysconf(_SC_PAGESIZE);
}

void live(Context &context, host::Model &model) {
    AdapterOptions options = host::choose(Method::score_function);
    options.selection.score = [](std::int64_t, const TensorView &, const TensorView *,
                                 const MutableTensorView &scores) {
        float score = 0;
        for (float &value : scores.values<float>()) value = ++score;
    };
    Adapter adapter = model.make_adapter(context, options);
    adapter.select();
    model.train(adapter, 1);
    adapter.unmerge();
    try {
        adapter.step();
    } catch (const invalid_state &) {  // errors are freed too; what Boost.Test checks it may keep
        return;
    }
    throw std::logic_error("an unmerged adapter took a step");
}

}  // namespace

// After a thousand every cache is warm. The least that one of the next nine thousand can leave behind is a block of
// malloc's, 32 bytes: 288 kB of all. Less than 256 kB is none of each.
BOOST_AUTO_TEST_CASE(ten_thousand_adapters_leave_nothing_behind) {
    Context context = host::make_context();
    host::Model model;
    for (int i = 0; i < 1000; ++i) live(context, model);
    const std::int64_t before = resident_bytes();
    for (int i = 0; i < 9000; ++i) live(context, model);
    BOOST_TEST(resident_bytes() - before < 256 * 1024);
}

BOOST_AUTO_TEST_SUITE_END()
