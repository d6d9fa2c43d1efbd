// MeProp: masks that follow each step's gradient.
#include "host.h"

#include <algorithm>
#include <numeric>

using namespace speft;
using host::choose;

namespace {

constexpr std::size_t rows = 6, columns = 9, scalars = rows * columns;
const Shape shape = {rows, columns};

// Odd multiples of 2^-8: none is 0, which a lazy optimizer would pass over.
std::vector<float> make_gradient(std::uint32_t seed) {
    std::vector<float> values = host::make_values(scalars, seed);
    for (float &value : values) value += 1.0f / 256;
    return values;
}

std::vector<Parameter> one_matrix() { return {{"w", shape}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(meprop)

BOOST_AUTO_TEST_CASE(of_all_scalars_it_is_adamw) {
    Context context = host::make_context();
    auto weights = host::make_values(scalars, 1), expected = weights;
    Adapter adapter(context, one_matrix(), choose(Method::meprop, scalars));
    adapter.bind(0, view(weights, shape));
    adapter.select();
    BOOST_TEST(adapter.state().selected_scalars == 0);

    AdapterOptions whole = choose(Method::mask, 0);
    whole.optimizer = OptimizerOptions{Optimizer::adamw, Age::per_weight};
    Adapter ordinary(context, one_matrix(), whole);
    ordinary.bind(0, view(expected, shape));
    std::vector<std::int64_t> all(scalars);
    std::iota(all.begin(), all.end(), 0);
    ordinary.set_mask(0, all);
    ordinary.select();

    const Hyperparameters numbers{0.05, 0.9, 0.999, 1e-8, 0.1};
    for (std::uint32_t step = 1; step <= 4; ++step) {
        const auto values = make_gradient(step);
        adapter.accumulate(0, Gradient::dense(view(values, shape)));
        ordinary.accumulate(0, Gradient::dense(view(values, shape)));
        BOOST_REQUIRE(adapter.reselect().has_value());
        BOOST_TEST(adapter.clip_gradient(1) == ordinary.clip_gradient(1));
        adapter.step(numbers);
        ordinary.step(numbers);
        BOOST_TEST(host::same_bits(weights, expected));
    }
    BOOST_TEST(adapter.mask(0) == all, boost::test_tools::per_element());
    BOOST_TEST(adapter.ages(0) == ordinary.ages(0), boost::test_tools::per_element());
    BOOST_TEST(host::same_bits(host::copy(adapter.deltas(0).values<float>()),
                               host::copy(ordinary.deltas(0).values<float>())));
}

BOOST_AUTO_TEST_CASE(moves_the_largest_of_each_step) {
    constexpr std::size_t k = 5;
    Context context = host::make_context();
    auto weights = host::make_values(scalars, 1);
    const auto original = weights;
    AdapterOptions options = choose(Method::meprop, k);
    options.selection.schedule.emplace();
    options.selection.schedule->track_moves = true;
    Adapter adapter(context, one_matrix(), options);
    adapter.bind(0, view(weights, shape));
    adapter.select();
    BOOST_TEST(adapter.state().attached);
    BOOST_TEST(adapter.state().merged);
    BOOST_TEST(!adapter.state().reselection_due);
    BOOST_TEST(!adapter.reselect().has_value());  // nothing to select by yet

    std::vector<std::int64_t> ages(scalars);
    for (std::uint32_t step = 1; step <= 3; ++step) {
        const auto values = make_gradient(10 + step);
        adapter.accumulate(0, Gradient::dense(view(values, shape)));
        BOOST_TEST(adapter.state().reselection_due);
        CHECK_REFUSED(invalid_state, "speft_reselect", adapter.step());
        CHECK_REFUSED(invalid_state, "speft_reselect", adapter.gradient(0));
        CHECK_REFUSED(invalid_state, "speft_reselect", adapter.clip_gradient(1));
        const auto moved = adapter.reselect();
        BOOST_REQUIRE(moved.has_value());
        CHECK_REFUSED(invalid_state, "selected already", adapter.accumulate(0, Gradient::dense(view(values, shape))));

        std::vector<std::int64_t> mask, grown;
        const auto chosen = host::find_largest(values, k);
        std::vector<float> gradient;
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(scalars); ++i) {
            const auto at = static_cast<std::size_t>(i);
            const bool now = std::binary_search(chosen.begin(), chosen.end(), i);
            if (now && ages[at] == 0) grown.push_back(i);
            ages[at] += now;
            if (ages[at] == 0) continue;
            mask.push_back(i);
            gradient.push_back(now ? values[at] : 0);
        }
        BOOST_TEST(adapter.mask(0) == mask, boost::test_tools::per_element());
        BOOST_TEST(adapter.moved(0, Moved::grown) == grown, boost::test_tools::per_element());
        BOOST_TEST(adapter.moved(0, Moved::dropped).empty());
        BOOST_TEST(moved->grown == static_cast<std::int64_t>(grown.size()));
        BOOST_TEST(moved->dropped == 0);
        BOOST_TEST(host::same_bits(host::copy<float>(adapter.gradient(0).values<float>()), gradient));

        const auto before = weights;
        adapter.step(Hyperparameters{0.05});
        for (std::size_t at = 0; at < scalars; ++at)
            BOOST_TEST((weights[at] != before[at]) ==
                       std::binary_search(chosen.begin(), chosen.end(), static_cast<std::int64_t>(at)));
    }
    std::vector<std::int64_t> expected;
    for (const std::int64_t age : ages)
        if (age > 0) expected.push_back(age);
    BOOST_TEST(adapter.ages(0) == expected, boost::test_tools::per_element());
    const std::vector<float> of_the_mask(expected.size());
    CHECK_REFUSED(invalid_argument, "DENSE or ACTIVATIONS", adapter.accumulate(0, Gradient::values(of_the_mask)));
    adapter.unmerge();
    BOOST_TEST(!adapter.state().attached);
    BOOST_TEST(host::same_bits(weights, original));
    adapter.attach();  // where no parameter is in a basis it is merge
    BOOST_TEST(adapter.state().merged);
    BOOST_TEST(!host::same_bits(weights, original));
}

BOOST_AUTO_TEST_CASE(selects_fewer_above_a_threshold) {
    constexpr std::size_t k = 5;
    constexpr float threshold = 0.9375f;
    Context context = host::make_context();
    auto weights = host::make_values(scalars, 1);
    AdapterOptions options = choose(Method::meprop, k);
    options.selection.threshold = threshold;
    Adapter adapter(context, one_matrix(), options);
    adapter.bind(0, view(weights, shape));
    adapter.select();
    std::size_t fewer = 0;
    for (std::uint32_t step = 1; step <= 4; ++step) {
        auto values = make_gradient(30 + step);
        if (step == 4)
            for (float &value : values) value /= 2;  // none is left
        std::vector<std::int64_t> chosen;
        for (const std::int64_t index : host::find_largest(values, k))
            if (std::abs(values[static_cast<std::size_t>(index)]) >= threshold) chosen.push_back(index);
        fewer += k - chosen.size();
        adapter.accumulate(0, Gradient::dense(view(values, shape)));
        BOOST_TEST(adapter.reselect().has_value());
        const auto before = weights;
        adapter.step(Hyperparameters{0.05});
        for (std::size_t at = 0; at < scalars; ++at)
            BOOST_TEST((weights[at] != before[at]) ==
                       std::binary_search(chosen.begin(), chosen.end(), static_cast<std::int64_t>(at)));
    }
    BOOST_TEST(fewer > k);                     // an earlier step, too
    BOOST_TEST(adapter.selected_count(0) > 0);
}

BOOST_AUTO_TEST_CASE(lets_the_least_changed_leave_above_a_limit) {
    Context context = host::make_context();
    auto weights = host::make_values(scalars, 1);
    const auto original = weights;
    AdapterOptions options = choose(Method::meprop, 4);
    options.selection.schedule.emplace();
    options.selection.schedule->settled_limit = 3;
    Adapter adapter(context, one_matrix(), options);
    adapter.bind(0, view(weights, shape));
    adapter.select();
    std::int64_t dropped = 0;
    for (std::uint32_t step = 1; step <= 5; ++step) {
        const auto values = make_gradient(20 + step);
        adapter.accumulate(0, Gradient::dense(view(values, shape)));
        dropped += adapter.reselect().value().dropped;
        BOOST_TEST(adapter.selected_count(0) <= 7);
        adapter.step(Hyperparameters{0.05});
        auto expected = original;
        const auto mask = adapter.mask(0);
        const auto deltas = adapter.deltas(0).values<float>();
        for (std::size_t i = 0; i < mask.size(); ++i) expected[static_cast<std::size_t>(mask[i])] += deltas[i];
        BOOST_TEST(host::same_bits(weights, expected));  // those that have left have their original bits
    }
    BOOST_TEST(dropped > 0);
}

BOOST_AUTO_TEST_CASE(without_a_schedule_the_mask_is_of_observations) {
    Context context = host::make_context();
    host::Model model, other;
    AdapterOptions options = choose(Method::meprop);
    options.selection.schedule.emplace();
    options.selection.schedule->schedule = Schedule::none;
    options.optimizer = OptimizerOptions{Optimizer::sgd};
    Adapter adapter = model.make_adapter(context, options);
    Adapter expected = other.make_adapter(context, choose(Method::gradient));
    for (Adapter *each : {&adapter, &expected}) {
        model.observe(*each, 1);
        model.observe(*each, 2);
        each->select();
    }
    for (std::int64_t i = 0; i < 2; ++i)
        BOOST_TEST(adapter.mask(i) == expected.mask(i), boost::test_tools::per_element());
    model.train(adapter, 3);
    BOOST_TEST(!adapter.reselect().has_value());
    BOOST_TEST(adapter.state().steps == 1);
}

BOOST_AUTO_TEST_CASE(refuses_what_it_has_not) {
    Context context = host::make_context();
    const auto create = [&](const AdapterOptions &options) { return Adapter(context, one_matrix(), options); };
    AdapterOptions options = choose(Method::meprop);
    options.optimizer = OptimizerOptions{Optimizer::sgd};
    CHECK_REFUSED(invalid_argument, "meprop", create(options));
    options = choose(Method::meprop);
    options.selection.scope = Scope::per_row;
    CHECK_REFUSED(invalid_argument, "meprop", create(options));
    options = choose(Method::meprop);
    options.selection.schedule.emplace();
    options.selection.schedule->reselect_every = 2;
    CHECK_REFUSED(invalid_argument, "reselect_every", create(options));
    options = choose(Method::meprop);
    options.selection.threshold = -1;
    CHECK_REFUSED(invalid_argument, "threshold", create(options));
    options = choose(Method::magnitude);
    options.selection.threshold = 0.5;
    CHECK_REFUSED(invalid_argument, "threshold", create(options));
    Basis basis(context, {rows, columns});
    const auto values = make_gradient(1);
    basis.observe(Gradient::dense(view(values, shape)));
    basis.fit();
    Adapter adapter = create(choose(Method::meprop));
    CHECK_REFUSED(invalid_state, "sparsegrad", adapter.bind_basis(0, basis));
}

BOOST_AUTO_TEST_SUITE_END()
