// Defaults and names of options, tensor views.
#include "host.h"

#include <array>

using namespace speft;

BOOST_AUTO_TEST_SUITE(options)

BOOST_AUTO_TEST_CASE(defaults_are_those_of_the_library) {
    speft_selection_options selection;
    speft_selection_options_init(&selection, sizeof selection);
    const SelectionOptions ours;
    BOOST_TEST(static_cast<std::int32_t>(ours.method) == selection.method);
    BOOST_TEST(static_cast<std::int32_t>(ours.scope) == selection.scope);
    BOOST_TEST(static_cast<std::int32_t>(ours.random) == selection.random);
    BOOST_TEST(static_cast<std::int32_t>(ours.mean) == selection.mean);
    BOOST_TEST(ours.seed == selection.seed);
    BOOST_TEST(ours.threshold == selection.threshold);

    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    BOOST_TEST(static_cast<std::int32_t>(OptimizerOptions().kind) == optimizer.kind);
    BOOST_TEST(static_cast<std::int32_t>(OptimizerOptions().age) == optimizer.age);
    BOOST_TEST(static_cast<std::int32_t>(OptimizerOptions().state) == optimizer.state);

    speft_hyperparameters group;
    speft_hyperparameters_init(&group, sizeof group);
    const Hyperparameters all;
    BOOST_TEST(all.learning_rate == group.learning_rate);
    BOOST_TEST(all.beta1 == group.beta1);
    BOOST_TEST(all.beta2 == group.beta2);
    BOOST_TEST(all.epsilon == group.epsilon);
    BOOST_TEST(all.weight_decay == group.weight_decay);
    BOOST_TEST(all.momentum == group.momentum);
    BOOST_TEST(static_cast<std::int32_t>(all.decay) == group.decay);

    speft_basis_options basis;
    speft_basis_options_init(&basis, sizeof basis);
    BOOST_TEST(BasisOptions().row_directions == basis.row_directions);
    BOOST_TEST(BasisOptions().column_directions == basis.column_directions);

    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    const ScheduleOptions moves;
    BOOST_TEST(static_cast<std::int32_t>(moves.schedule) == schedule.schedule);
    BOOST_TEST(static_cast<std::int32_t>(moves.drop) == schedule.drop);
    BOOST_TEST(moves.rate == schedule.rate);
    BOOST_TEST(moves.reselect_every == schedule.reselect_every);
}

template <class Enum>
void check_names() {
    for (const auto &named : detail::Names<Enum>::all) {
        BOOST_TEST(std::string(name(named.value)) == named.name);
        BOOST_CHECK(from_name<Enum>(named.name) == named.value);
    }
    CHECK_REFUSED(invalid_argument, "'no such'", from_name<Enum>("no such"));
    CHECK_REFUSED(invalid_argument, detail::Names<Enum>::all[0].name, from_name<Enum>("no such"));
    BOOST_TEST(std::string(name(static_cast<Enum>(99))) == "unknown");
}

BOOST_AUTO_TEST_CASE(names_go_both_ways) {
    check_names<Method>();
    check_names<Scope>();
    check_names<Random>();
    check_names<Mean>();
    check_names<Schedule>();
    check_names<Drop>();
    check_names<Optimizer>();
    check_names<Age>();
    check_names<State>();
    check_names<Decay>();
    check_names<DeltaType>();
    check_names<Role>();
    check_names<Part>();
    check_names<Layout>();
    check_names<Format>();
    check_names<WeightsKind>();
    check_names<Moved>();
    check_names<LogLevel>();
    check_names<Dtype>();
    BOOST_TEST(std::string(name(speft_status{SPEFT_BUSY})) == "BUSY");
}

BOOST_AUTO_TEST_CASE(views_know_types_and_shapes) {
    std::vector<float> values = {1, 2, 3, 4, 5, 6};
    const MutableTensorView matrix = view(values, {2, 3});
    BOOST_TEST(matrix.shape() == (Shape{2, 3}), boost::test_tools::per_element());
    BOOST_CHECK(matrix.dtype() == Dtype::float32);
    matrix.values<float>()[4] = 50;
    BOOST_TEST(values[4] == 50);
    CHECK_REFUSED(invalid_argument, "bfloat16", matrix.values<bfloat16>());
    CHECK_REFUSED(invalid_argument, "shape", view(values, {2, 4}));

    const std::array<std::int64_t, 2> indices = {1, 2};
    const TensorView one_axis = indices;
    BOOST_TEST(one_axis.size() == 2);
    BOOST_CHECK(one_axis.dtype() == Dtype::int64);

    const bfloat16 half[1] = {{0x3f80}};
    BOOST_CHECK(TensorView(half, {1}).dtype() == Dtype::bfloat16);
    const float16 other[1] = {{0x3c00}};
    BOOST_CHECK(TensorView(other, {1}).dtype() == Dtype::float16);
}

// What is refused when the program is compiled needs no test at run time.
static_assert(!std::is_constructible_v<MutableTensorView, const float *, Shape>);
static_assert(!std::is_constructible_v<MutableTensorView, const std::vector<float> &>);
static_assert(!std::is_constructible_v<MutableTensorView, TensorView>);
static_assert(std::is_same_v<decltype(view(std::declval<const std::vector<float> &>(), Shape{})), TensorView>);
static_assert(!std::is_constructible_v<TensorView, const double *, Shape>);
static_assert(!std::is_copy_constructible_v<Context> && std::is_nothrow_move_constructible_v<Context>);
static_assert(!std::is_copy_constructible_v<Adapter> && std::is_nothrow_move_assignable_v<Adapter>);
static_assert(!std::is_copy_constructible_v<Basis> && std::is_nothrow_move_assignable_v<Basis>);

BOOST_AUTO_TEST_CASE(versions_and_backends) {
    BOOST_TEST(version() == speft_version());
    BOOST_TEST(abi_version() == SPEFT_ABI_VERSION);
    const auto found = backends();
    BOOST_REQUIRE(!found.empty());
    BOOST_TEST(found[0].name == "cpu");
    BOOST_TEST(found[0].available, found[0].reason);
    BOOST_TEST(operations().size() > 20u);
}

BOOST_AUTO_TEST_SUITE_END()
