// The whole life of an adapter, and every way to select.
#include "host.h"

#include <algorithm>
#include <limits>

using namespace speft;
using host::choose;

BOOST_AUTO_TEST_SUITE(life)

BOOST_AUTO_TEST_CASE(from_observation_to_the_original_bits) {
    Context context = host::make_context();
    BOOST_TEST(context.backend() == "cpu");
    host::Model model;
    const auto original = model.weights;
    Adapter adapter = model.make_adapter(context, choose(Method::snip));
    context.close();  // the adapter keeps what it needs
    BOOST_TEST(adapter.count_parameters() == 3);
    BOOST_TEST(adapter.parameter(1).name == "value.weight");
    BOOST_TEST(adapter.parameter(1).shape == (Shape{8, 16}), boost::test_tools::per_element());
    BOOST_CHECK(adapter.parameters()[2].role == Role::dense);
    BOOST_TEST(adapter.position("bias") == 2);

    adapter.begin_observation(2);
    for (std::int64_t i = 0; i < 3; ++i) {
        const auto values = model.gradient(static_cast<std::size_t>(i), 1);
        adapter.observe(i, Gradient::dense(view(values, model.parameters[static_cast<std::size_t>(i)].shape)));
    }
    adapter.finish_observation();
    adapter.clear_observations();
    model.observe(adapter, 1);
    model.observe(adapter, 2);
    BOOST_TEST(adapter.state().observations == 2);
    adapter.select();
    AdapterState state = adapter.state();
    BOOST_TEST(state.selected);
    BOOST_TEST(state.merged);
    BOOST_CHECK(state.method == Method::snip);
    BOOST_TEST(state.selected_scalars == 9);
    BOOST_TEST(state.trained_scalars == 14);
    BOOST_TEST(state.targeted_scalars == 12 * 8 + 8 * 16);
    BOOST_TEST(!state.next_reselection.has_value());
    BOOST_TEST(adapter.selected_count(0) + adapter.selected_count(1) == 9);
    BOOST_TEST(adapter.selected_count(2) == 5);

    model.accumulate(adapter, 3);
    const double norm = adapter.clip_gradient(std::numeric_limits<double>::infinity());
    double sum = 0;
    for (std::int64_t i = 0; i < 3; ++i)
        for (const float value : adapter.gradient(i).values<float>()) sum += double(value) * value;
    BOOST_TEST(norm == std::sqrt(sum), boost::test_tools::tolerance(1e-12));
    adapter.clip_gradient(norm / 2);
    adapter.clear_gradient(0);
    adapter.clear_gradients();
    for (int step = 0; step < 3; ++step) model.train(adapter, 3);
    BOOST_TEST(adapter.state().steps == 3);

    // The weights have moved where the masks are, by the deltas, and nowhere else.
    for (std::int64_t i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(i);
        auto expected = original[at];
        const auto mask = adapter.mask(i);
        const auto deltas = adapter.deltas(i).values<float>();
        BOOST_REQUIRE(mask.size() == deltas.size());
        for (std::size_t j = 0; j < mask.size(); ++j) {
            BOOST_TEST(deltas[j] != 0);
            expected[static_cast<std::size_t>(mask[j])] += deltas[j];
        }
        BOOST_TEST(host::same_bits(model.weights[at], expected));
        BOOST_TEST(adapter.ages(i) == std::vector<std::int64_t>(mask.size(), 3), boost::test_tools::per_element());
    }
    BOOST_TEST(adapter.measure_rounding_loss() < 1e-3);
    BOOST_TEST(adapter.measure_rounding_loss(0) < 1e-3);

    const auto trained = model.weights;
    adapter.unmerge();
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], original[i]));
    adapter.merge();
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], trained[i]));
}

BOOST_AUTO_TEST_CASE(handles_move_and_close) {
    Context context = host::make_context();
    Context moved = std::move(context);
    BOOST_TEST(!context);
    BOOST_TEST(bool(moved));
    host::Model model;
    Adapter adapter;
    BOOST_TEST(adapter.count_parameters() == 0);
    adapter = model.make_adapter(moved, choose(Method::magnitude));
    Adapter other = std::move(adapter);
    BOOST_TEST(!adapter);
    other.select();
    other.close();
    other.close();
    BOOST_TEST(!other);
}

// A method that needs no gradients takes them all the same.
BOOST_AUTO_TEST_CASE(every_method_selects) {
    Context context = host::make_context();
    for (const auto &named : detail::Names<Method>::all) {
        BOOST_TEST_CONTEXT(named.name) {
            host::Model model;
            AdapterOptions options = choose(named.value);
            if (named.value == Method::mask) options.selection.budget = 0;
            if (named.value == Method::low_rank) options.selection.approximation_rank = 2;
            if (named.value == Method::score_function)
                options.selection.score = [](std::int64_t, const TensorView &weights, const TensorView *gradient,
                                             const MutableTensorView &scores) {
                    const auto from = weights.values<float>();
                    const auto mean = gradient->values<float>();
                    const auto to = scores.values<float>();
                    for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::abs(from[i] * mean[i]);
                };
            Adapter adapter = model.make_adapter(context, options);
            if (named.value == Method::mask) {
                adapter.set_mask(0, std::vector<std::int64_t>{1, 5, 90});
                adapter.set_mask(1, std::vector<std::int64_t>{0, 2, 4, 6, 8, 127});
            }
            for (std::int64_t i = 0; i < 2; ++i) {
                const auto at = static_cast<std::size_t>(i);
                const auto given = host::make_values(model.weights[at].size(), 77);
                if (named.value == Method::scores) adapter.set_scores(i, view(given, model.parameters[at].shape));
                if (named.value == Method::weight_change)
                    adapter.set_reference(i, view(given, model.parameters[at].shape));
                if (named.value == Method::sparsegrad) {
                    Basis basis(context, {model.parameters[at].shape[0], model.parameters[at].shape[1]});
                    basis.observe(Gradient::dense(view(given, model.parameters[at].shape)));
                    basis.fit();
                    adapter.bind_basis(i, basis);
                }
            }
            if (named.value == Method::wanda) {
                const auto x = host::make_values(4 * 8, 5);
                const auto wide = host::make_values(4 * 16, 6);
                adapter.observe(0, Gradient::inputs(view(x, {4, 8})));
                adapter.observe(1, Gradient::inputs(view(wide, {4, 16})));
                adapter.finish_observation(1);
            } else {
                model.observe(adapter, 4);
            }
            adapter.select();
            model.accumulate(adapter, 5);
            if (named.value == Method::sparsegrad || named.value == Method::meprop)
                adapter.reselect();  // each step's gradient selects
            BOOST_TEST(adapter.state().selected_scalars == 9);
            BOOST_CHECK(adapter.state().method == named.value);
            adapter.step();
            BOOST_TEST(adapter.state().steps == 1);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_score_of_the_programs_own_ranks_as_the_librarys) {
    Context context = host::make_context();
    host::Model one, other;
    AdapterOptions own = choose(Method::score_function);
    own.selection.score = [](std::int64_t parameter, const TensorView &weights, const TensorView *gradient,
                             const MutableTensorView &scores) {
        BOOST_TEST(parameter < 2);
        BOOST_TEST(!gradient);
        const auto from = weights.values<float>();
        std::transform(from.begin(), from.end(), scores.values<float>().begin(), [](float w) { return std::abs(w); });
    };
    Adapter by_function = one.make_adapter(context, own);
    Adapter by_magnitude = other.make_adapter(context, choose(Method::magnitude));
    by_function.select();
    by_magnitude.select();
    for (std::int64_t i = 0; i < 2; ++i)
        BOOST_TEST(by_function.mask(i) == by_magnitude.mask(i), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(gradients_in_every_form_are_the_same) {
    Context context = host::make_context();
    const auto x = host::make_values(3 * 8, 21), dy = host::make_values(3 * 12, 22);
    std::vector<float> product(12 * 8, 0.0f);  // exact: short numbers, few tokens
    for (int t = 0; t < 3; ++t)
        for (int r = 0; r < 12; ++r)
            for (int c = 0; c < 8; ++c)
                product[static_cast<std::size_t>(r * 8 + c)] +=
                    dy[static_cast<std::size_t>(t * 12 + r)] * x[static_cast<std::size_t>(t * 8 + c)];
    const std::vector<Parameter> one = {{"w", {12, 8}}};
    std::vector<std::vector<float>> results;
    for (int form = 0; form < 3; ++form) {
        auto weights = host::make_values(12 * 8, 1);
        Adapter adapter(context, one, choose(Method::magnitude));
        adapter.bind(0, view(weights, {12, 8}));
        adapter.select();
        if (form == 0) adapter.accumulate(0, Gradient::dense(view(product, {12, 8}), 0.5));
        if (form == 1)
            adapter.accumulate(0, Gradient::activations(view(x, {3, 8}), view(dy, {3, 12}), Layout::out_in, 0.5));
        if (form == 2) {
            std::vector<float> values;
            for (const std::int64_t index : adapter.mask(0)) values.push_back(product[static_cast<std::size_t>(index)]);
            adapter.accumulate(0, Gradient::values(values, 0.5));
        }
        results.push_back(host::copy<float>(adapter.gradient(0).values<float>()));
        adapter.step(Hyperparameters{1e-2});
    }
    BOOST_TEST(host::same_bits(results[0], results[1]));
    BOOST_TEST(host::same_bits(results[0], results[2]));
}

BOOST_AUTO_TEST_CASE(fisher_scores_of_examples) {
    Context context = host::make_context();
    const std::vector<Parameter> one = {{"w", {2, 2}}};
    std::vector<float> weights(4);
    Adapter adapter(context, one, choose(Method::fisher, 1));
    adapter.bind(0, view(weights, {2, 2}));
    // Two examples that cancel in the batch's gradient, but not in their squares.
    const std::vector<float> x = {1, 0, 1, 0}, dy = {0, 3, 0, -3};
    const std::vector<std::int64_t> offsets = {0, 1, 2};
    adapter.observe(0, Gradient::activations(view(x, {2, 2}), view(dy, {2, 2})).with_examples(offsets));
    adapter.finish_observation(1);
    adapter.select();
    BOOST_TEST(adapter.mask(0) == (std::vector<std::int64_t>{2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(sixteen_bit_weights_and_deltas) {
    Context context = host::make_context();
    const std::vector<Parameter> one = {{"w", {4, 4}, Dtype::bfloat16}};
    std::vector<bfloat16> weights(16, bfloat16{0x3f80});  // 1.0
    AdapterOptions options = choose(Method::magnitude, 3);
    options.delta_type = DeltaType::bfloat16;
    options.optimizer = OptimizerOptions{Optimizer::lion, Age::common, State::bfloat16};
    Adapter adapter(context, one, options);
    adapter.bind(0, view(weights, {4, 4}));
    adapter.select();
    const std::vector<float> values = {1, 1, 1};
    adapter.accumulate(0, Gradient::values(values));
    adapter.step(Hyperparameters{0.25});
    BOOST_TEST(adapter.deltas(0).values<bfloat16>()[0].bits == 0xbe80);  // -0.25, exactly
    BOOST_TEST(weights[0].bits == 0x3f40);                               // 0.75
    BOOST_TEST(adapter.measure_rounding_loss(0) == 0);
}

BOOST_AUTO_TEST_CASE(groups_and_missing_gradients) {
    Context context = host::make_context();
    host::Model model;
    model.parameters[2].group = 1;
    Adapter adapter = model.make_adapter(context, choose(Method::random));
    adapter.select();
    StepOptions options;
    options.groups = {Hyperparameters{0.5}, Hyperparameters{0.0}};
    options.keep_gradient = true;
    options.gradient_scale = 2;
    model.accumulate(adapter, 1);
    const auto bias = model.weights[2];
    adapter.step(options);
    BOOST_TEST(host::same_bits(model.weights[2], bias));  // a learning rate of 0
    BOOST_TEST(adapter.deltas(0).values<float>()[0] != 0);
    BOOST_TEST(adapter.clip_gradient(std::numeric_limits<double>::infinity()) > 0);

    Adapter second = host::Model(9).make_adapter(context, choose(Method::random));
    host::Model fresh(9);
    fresh.bind(second);
    second.select();
    const auto values = fresh.gradient(0, 1);
    second.accumulate(0, Gradient::dense(view(values, fresh.parameters[0].shape)));
    CHECK_REFUSED(invalid_state, "value.weight", second.step());
    StepOptions lenient;
    lenient.allow_missing = true;
    second.step(lenient);
    BOOST_TEST(second.state().steps == 1);
}

BOOST_AUTO_TEST_CASE(a_memory_plan_before_anything_is_allocated) {
    Context context = host::make_context();
    const MemoryPlan plan = context.plan_memory(host::declare_model(), choose(Method::snip), 16);
    BOOST_TEST(plan.observation > plan.announced_observation);
    BOOST_TEST(plan.announced_observation >= (12 * 8 + 8 * 16) * sizeof(float));
    BOOST_TEST(plan.selection > 0u);
    BOOST_TEST(plan.training > 0u);
    BOOST_TEST(plan.reselection == 0u);
    BOOST_TEST(plan.products > 0u);
    BOOST_TEST(plan.fitting + plan.merging == 0u);
}

BOOST_AUTO_TEST_CASE(a_memory_plan_counts_a_shared_basis_once) {
    Context context = host::make_context();
    AdapterOptions options;
    options.selection.method = Method::sparsegrad;
    options.selection.density = 0.1;
    const std::vector<Parameter> parameters = {{"first", {64, 32}}, {"second", {64, 32}}};
    const auto plan = [&](const std::vector<PlannedBasis> &bases) {
        return context.plan_memory(parameters, options, 8, bases);
    };
    const BasisOptions all{64, 32};
    const MemoryPlan shared = plan({{all, {0, 1}}}), own = plan({{all, {0}}, {all, {1}}});
    // U, V, and V transposed.
    BOOST_TEST(own.training - shared.training == (32 * 32 + 2 * 64 * 64) * sizeof(float));
    BOOST_TEST(own.fitting > shared.fitting);
    BOOST_TEST(shared.merging > shared.training);
    BOOST_TEST(plan({{{64, 32, 8, 4}, {0, 1}}}).training < shared.training);
    CHECK_REFUSED(invalid_argument, "'second'", plan({{all, {0}}}));
    CHECK_REFUSED(invalid_argument, "no parameter 2", plan({{all, {0, 1, 2}}}));
    CHECK_REFUSED(invalid_argument, "parameter 0 has two", plan({{all, {0, 1}}, {all, {0}}}));
}

BOOST_AUTO_TEST_CASE(implementations_can_be_read_and_forced) {
    Context context = host::make_context();
    BOOST_TEST(!context.implementation("step_adamw").has_value());
    const auto all = context.implementations("step_adamw");
    BOOST_REQUIRE(!all.empty());
    BOOST_TEST(all.back() == "reference");
    context.set_implementation("step_adamw", "reference");
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
    adapter.select();
    model.train(adapter, 1);
    BOOST_TEST(context.implementation("step_adamw").value() == "reference");
    context.set_implementation("step_adamw", std::nullopt);
    CHECK_REFUSED(invalid_argument, "no such", context.set_implementation("step_adamw", "no such"));
    context.synchronize();
    context.set_stream(nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(moving_masks)

BOOST_AUTO_TEST_CASE(spiel_drops_and_grows) {
    for (const Method method : {Method::spiel_ag, Method::spiel_ma}) {
        Context context = host::make_context();
        host::Model model;
        const auto original = model.weights;
        AdapterOptions options = choose(method);
        options.selection.schedule.emplace();
        options.selection.schedule->reselect_every = 2;
        options.selection.schedule->window = 1;
        options.selection.schedule->rate = 0.5;
        options.selection.schedule->track_moves = true;
        BOOST_TEST(context.plan_memory(model.parameters, options).reselection > 0u);
        Adapter adapter = model.make_adapter(context, options);
        adapter.select();
        BOOST_TEST(adapter.state().next_reselection.value() == 1);
        const auto before = adapter.mask(0);
        model.train(adapter, 1);
        BOOST_TEST(adapter.state().reselection_due);
        model.accumulate(adapter, 2);
        CHECK_REFUSED(invalid_state, "reselect", adapter.step());
        const std::optional<Reselection> moved = adapter.reselect();
        BOOST_REQUIRE(moved.has_value());
        BOOST_TEST(moved->step == 1);
        BOOST_TEST(moved->grown == moved->dropped);
        BOOST_TEST(moved->grown > 0);
        std::int64_t dropped = 0, grown = 0;
        for (std::int64_t i = 0; i < 2; ++i) {
            const auto gone = adapter.moved(i, Moved::dropped);
            dropped += static_cast<std::int64_t>(gone.size());
            grown += static_cast<std::int64_t>(adapter.moved(i, Moved::grown).size());
            for (const std::int64_t index : gone) {  // they have their original bits again
                const auto at = static_cast<std::size_t>(index);
                BOOST_TEST(model.weights[static_cast<std::size_t>(i)][at] == original[static_cast<std::size_t>(i)][at]);
            }
        }
        BOOST_TEST(dropped == moved->dropped);
        BOOST_TEST(grown == moved->grown);
        BOOST_TEST(!adapter.reselect().has_value());
        model.train(adapter, 3);
        adapter.unmerge();
        for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], original[i]));
    }
}

BOOST_AUTO_TEST_CASE(dynamic_masks_settle_what_leaves) {
    Context context = host::make_context();
    host::Model model;
    const auto original = model.weights;
    AdapterOptions options = choose(Method::gradient);
    options.selection.schedule.emplace();
    options.selection.schedule->reselect_every = 1;
    Adapter adapter = model.make_adapter(context, options);
    model.observe(adapter, 1);
    adapter.select();
    model.train(adapter, 2);
    model.observe(adapter, 7);
    CHECK_REFUSED(cancelled, "", adapter.reselect([](std::int64_t, std::int64_t) { return true; }));
    const auto moved = adapter.reselect();
    BOOST_REQUIRE(moved.has_value());
    BOOST_TEST(moved->settled == moved->dropped);
    BOOST_TEST(moved->settled > 0);
    BOOST_TEST(adapter.state().settled_scalars == moved->settled);
    adapter.unmerge();
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], original[i]));
}

BOOST_AUTO_TEST_SUITE_END()
