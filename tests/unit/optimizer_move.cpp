// Optimizers whose masks move: who keeps its state and age, who begins anew, and going on from what a checkpoint kept.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "core/adapter/context.h"
#include "core/optimizer/ages.h"
#include "core/optimizer/optimizer.h"
#include "tests/unit/adapter_samples.h"

namespace data = boost::unit_test::data;

namespace speft::testing {

namespace {

constexpr std::uint32_t no_position = std::numeric_limits<std::uint32_t>::max();

struct Case {
    std::int32_t kind, state;
    friend std::ostream &operator<<(std::ostream &out, const Case &tested) {
        return out << "optimizer " << tested.kind << ", state " << tested.state;
    }
};

const std::vector<Case> cases = {
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_FLOAT32}, {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_BFLOAT16},
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_BLOCKS8}, {SPEFT_OPTIMIZER_ADAM, SPEFT_STATE_FLOAT32},
    {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_FLOAT32},   {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_BFLOAT16},
    {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_BLOCKS8},   {SPEFT_OPTIMIZER_LION, SPEFT_STATE_FLOAT32},
    {SPEFT_OPTIMIZER_LION, SPEFT_STATE_BFLOAT16}, {SPEFT_OPTIMIZER_LION, SPEFT_STATE_BLOCKS8},
    {SPEFT_OPTIMIZER_SM3, SPEFT_STATE_FLOAT32},   {SPEFT_OPTIMIZER_ADAFACTOR, SPEFT_STATE_FLOAT32},
};

Context &context() {
    static const std::unique_ptr<Context> made = [] {
        ContextOptions options;
        options.backend = "cpu";
        options.backend_path = SPEFT_TEST_BACKEND_FOLDER;
        return std::make_unique<Context>(options);
    }();
    return *made;
}

Parameter make_parameter(const char *name, Shape shape, Role role) {
    Parameter parameter;
    parameter.name = name;
    parameter.shape = std::move(shape);
    for (const std::int64_t extent : parameter.shape) parameter.size *= static_cast<std::uint64_t>(extent);
    parameter.role = role;
    return parameter;
}

using MaskLists = std::vector<std::vector<std::uint32_t>>;

// A model on the host, which is the device of these tests; each weight's θ0 is 0 and its delta the weight.
struct Scene {
    std::vector<Parameter> parameters = {make_parameter("matrix", {30, 20}, Role::sparse),
                                         make_parameter("head", {3, 7}, Role::dense),
                                         make_parameter("vector", {90}, Role::sparse)};
    std::vector<std::vector<float>> weights;
    MaskLists lists;
    Masks masks;
    OptimizerOptions options;
    std::unique_ptr<Optimizer> optimizer;
    Hyperparameters hyperparameters;

    explicit Scene(const Case &tested) {
        for (const Parameter &parameter : parameters) weights.emplace_back(parameter.size, 0.0f);
        options = {tested.kind, SPEFT_AGE_PER_WEIGHT, tested.state};
        optimizer = make_optimizer(options, parameters);
        hyperparameters.learning_rate = 0.05;
        hyperparameters.momentum = 0.9;
        hyperparameters.weight_decay = 0.1;
        lists = draw_lists(1);
        masks = masks_of(lists);
    }

    Device &device() const { return context().device(); }

    MaskLists draw_lists(std::uint64_t seed) const {
        Draws draws(seed);
        return {draw_mask(draws, 600, 200), {}, draw_mask(draws, 90, 40)};
    }

    Masks masks_of(const MaskLists &chosen) const {
        std::vector<std::uint32_t> all;
        std::vector<std::uint64_t> counts;
        for (const auto &list : chosen) {
            all.insert(all.end(), list.begin(), list.end());
            counts.push_back(list.size());
        }
        Buffer<std::uint32_t> indices(device(), all.size());
        device().copy_to_device(indices.data(), all.data(), all.size() * sizeof(std::uint32_t));
        return make_masks(parameters, std::move(indices), counts);
    }

    std::uint32_t index(std::size_t parameter, std::size_t j) const {
        return lists[parameter].empty() ? static_cast<std::uint32_t>(j) : lists[parameter][j];
    }
    std::size_t count(std::size_t parameter) const {
        return static_cast<std::size_t>(masks.slots[parameter].count);
    }

    // One update of these parameters, with gradients that the number draws.
    void step(std::uint64_t number, const std::vector<std::size_t> &chosen = {0, 1, 2}) {
        std::vector<std::vector<float>> gradients(chosen.size()), deltas(chosen.size()), originals(chosen.size());
        std::vector<Update> updates;
        for (std::size_t at = 0; at < chosen.size(); ++at) {
            const std::size_t parameter = chosen[at];
            originals[at].resize(count(parameter));
            Draws draws(100 * number + parameter);
            for (std::size_t j = 0; j < count(parameter); ++j) {
                gradients[at].push_back(static_cast<float>(draws.below(2001)) / 1000 - 1);
                deltas[at].push_back(weights[parameter][index(parameter, j)]);
            }
            Update update;
            update.parameter = parameter;
            update.gradient = gradients[at].data();
            update.hyperparameters = &hyperparameters;
            update.segment.indices = masks.slots[parameter].indices;
            update.segment.count = count(parameter);
            update.segment.weights = weights[parameter].data();
            update.segment.originals = originals[at].data();
            update.segment.deltas = deltas[at].data();
            update.segment.absolute = parameters[parameter].role == Role::dense;
            update.segment.rounding_key = static_cast<std::uint32_t>(7 * number + parameter);
            updates.push_back(update);
        }
        optimizer->step(device(), masks, updates, 1);
    }

    // Where each scalar of `to` is among those of the parameter now.
    std::vector<std::uint32_t> positions(std::size_t parameter, const std::vector<std::uint32_t> &to) const {
        std::vector<std::uint32_t> found;
        for (const std::uint32_t index : to) {
            const auto place = std::ranges::find(lists[parameter], index);
            found.push_back(place == lists[parameter].end()
                                ? no_position
                                : static_cast<std::uint32_t>(place - lists[parameter].begin()));
        }
        return found;
    }

    void move(const MaskLists &to, bool afresh = false) {
        Masks after = masks_of(to);
        std::vector<std::vector<std::uint32_t>> found;
        std::vector<const std::uint32_t *> pointers;
        for (std::size_t parameter = 0; parameter < parameters.size(); ++parameter) {
            found.push_back(positions(parameter, to[parameter]));
            pointers.push_back(parameters[parameter].role == Role::dense ? nullptr : found.back().data());
        }
        if (afresh) pointers.clear();
        optimizer = optimizer->move(device(), {masks, after, pointers, afresh});
        lists = to;
        masks = std::move(after);
    }

    // The moments of one parameter by index, as float32; of one of those that AdamW, Lion and SGD have.
    std::map<std::uint32_t, float> moments(const std::string &name, std::size_t parameter) const {
        std::map<std::uint32_t, float> by_index;
        const char *const scales_names[] = {"scales", "scales1", "scales2"};
        for (const OptimizerState &state : optimizer->state()) {
            if (state.name != name) continue;
            speft_moments stored{};
            std::uint64_t blocks = 0;
            for (std::size_t before = 0; before < parameter; ++before) blocks += (count(before) + 63) / 64;
            for (const OptimizerState &scales : optimizer->state())
                if (std::ranges::find(scales_names, std::string(scales.name)) != std::end(scales_names) &&
                    std::string(scales.name).back() == (name.back() == '1' || name.back() == '2' ? name.back() : 's'))
                    stored.scales = static_cast<float *>(scales.values) + blocks;
            const std::uint64_t width = options.state == SPEFT_STATE_FLOAT32 ? 4 : 3 - options.state;
            stored.values = static_cast<std::byte *>(state.values) + masks.slots[parameter].offset * width;
            stored.type = options.state;
            std::vector<float> values(count(parameter));
            device().run(speft_convert_moments{stored, values.data(), values.size(), 1, name != "moment2"});
            for (std::size_t j = 0; j < values.size(); ++j) by_index[index(parameter, j)] = values[j];
        }
        return by_index;
    }

    std::vector<std::int64_t> ages(std::size_t parameter) const {
        std::vector<std::int64_t> ages(count(parameter));
        optimizer->copy_ages(device(), masks, parameter, ages.data());
        return ages;
    }
};

std::vector<std::string> moment_names(std::int32_t kind) {
    if (kind == SPEFT_OPTIMIZER_ADAMW || kind == SPEFT_OPTIMIZER_ADAM) return {"moment1", "moment2"};
    if (kind == SPEFT_OPTIMIZER_LION) return {"moment"};
    return kind == SPEFT_OPTIMIZER_SGD ? std::vector<std::string>{"velocity"} : std::vector<std::string>{};
}

std::vector<float> read_floats(const OptimizerState &state) {
    std::vector<float> values(state.count);
    std::memcpy(values.data(), state.values, values.size() * sizeof(float));
    return values;
}

bool has_ages(std::int32_t kind) { return kind == SPEFT_OPTIMIZER_ADAMW || kind == SPEFT_OPTIMIZER_ADAM; }

}  // namespace

BOOST_AUTO_TEST_SUITE(optimizer_move)

BOOST_DATA_TEST_CASE(survivors_keep_their_moments_and_new_scalars_have_none, data::make(cases), tested) {
    Scene scene(tested);
    for (std::uint64_t number = 0; number < 4; ++number) scene.step(number);
    std::map<std::string, std::vector<std::map<std::uint32_t, float>>> old;
    for (const std::string &name : moment_names(tested.kind))
        for (std::size_t parameter = 0; parameter < 3; ++parameter)
            old[name].push_back(scene.moments(name, parameter));
    std::vector<std::vector<float>> sums;
    if (moment_names(tested.kind).empty())
        for (const OptimizerState &state : scene.optimizer->state()) sums.push_back(read_floats(state));
    scene.move(scene.draw_lists(2));

    for (const std::string &name : moment_names(tested.kind)) {
        for (std::size_t parameter = 0; parameter < 3; ++parameter) {
            // Of 8 bits the nearest code is at most half the widest step between codes away, 0.0071 of a block's scale
            // (the one from 0.986 to 1, or from −0.993 to a largest magnitude of 1): once more after the move.
            float largest = 0;
            for (const auto &[index, value] : old[name][parameter]) largest = std::max(largest, std::fabs(value));
            const float tolerance = tested.state == SPEFT_STATE_BLOCKS8 && parameter != 1 ? 0.0071f * largest : 0;
            const auto now = scene.moments(name, parameter);
            BOOST_TEST(now.size() == scene.count(parameter));
            std::size_t survivors = 0;
            for (const auto &[index, value] : now) {
                const auto known = old[name][parameter].find(index);
                survivors += known != old[name][parameter].end();
                const float expected = known == old[name][parameter].end() ? 0 : known->second;
                BOOST_REQUIRE_LE(std::fabs(value - expected), tolerance);
            }
            BOOST_TEST(survivors > 0);
            BOOST_TEST((survivors < now.size() || parameter == 1));
        }
    }
    for (std::size_t array = 0; array < sums.size(); ++array)
        BOOST_CHECK(read_floats(scene.optimizer->state()[array]) == sums[array]);
    BOOST_CHECK((scene.optimizer->updates() == std::vector<std::uint32_t>{4, 4, 4}));
}

// Moves and steps of some parameters, against an age that is counted for each index by itself.
BOOST_DATA_TEST_CASE(ages_are_those_of_single_scalars, data::make(cases), tested) {
    Scene scene(tested);
    if (!has_ages(tested.kind)) return;
    std::vector<std::map<std::uint32_t, std::int64_t>> truth(3);
    for (std::size_t parameter = 0; parameter < 3; ++parameter)
        for (std::size_t j = 0; j < scene.count(parameter); ++j) truth[parameter][scene.index(parameter, j)] = 0;
    const auto check = [&] {
        for (std::size_t parameter = 0; parameter < 3; ++parameter) {
            const std::vector<std::int64_t> ages = scene.ages(parameter);
            for (std::size_t j = 0; j < ages.size(); ++j)
                BOOST_REQUIRE_EQUAL(ages[j], truth[parameter][scene.index(parameter, j)]);
        }
    };
    for (std::uint64_t round = 0; round < 12; ++round) {
        const std::vector<std::size_t> chosen = round % 3 == 0   ? std::vector<std::size_t>{0, 1, 2}
                                                : round % 3 == 1 ? std::vector<std::size_t>{0}
                                                                 : std::vector<std::size_t>{1, 2};
        scene.step(round, chosen);
        for (const std::size_t parameter : chosen)
            for (auto &[index, age] : truth[parameter]) ++age;
        check();
        const bool afresh = round == 7;
        scene.move(scene.draw_lists(round / 2), afresh);
        for (const std::size_t parameter : {0, 2}) {
            std::map<std::uint32_t, std::int64_t> moved;
            for (const std::uint32_t index : scene.lists[parameter]) {
                const auto known = truth[parameter].find(index);
                moved[index] = known == truth[parameter].end() || afresh ? 0 : known->second;
            }
            truth[parameter] = moved;
        }
        check();
    }
}

BOOST_DATA_TEST_CASE(a_fresh_start_is_that_of_sparse_parameters_alone, data::make(cases), tested) {
    Scene scene(tested);
    for (std::uint64_t number = 0; number < 3; ++number) scene.step(number);
    std::vector<std::map<std::uint32_t, float>> head;
    for (const std::string &name : moment_names(tested.kind)) head.push_back(scene.moments(name, 1));
    std::vector<std::vector<float>> sums;
    if (head.empty())
        for (const OptimizerState &state : scene.optimizer->state()) sums.push_back(read_floats(state));
    scene.move(scene.draw_lists(2), true);
    BOOST_CHECK((scene.optimizer->updates() == std::vector<std::uint32_t>{0, 3, 0}));
    for (std::size_t at = 0; at < head.size(); ++at) {
        const std::string name = moment_names(tested.kind)[at];
        BOOST_CHECK(scene.moments(name, 1) == head[at]);
        for (const std::size_t parameter : {0, 2})
            for (const auto &[index, value] : scene.moments(name, parameter)) BOOST_REQUIRE_EQUAL(value, 0);
    }
    if (!head.empty()) return;
    // Rows of the parameters: 30, 3 and 90; columns: 20 and 7.
    const std::vector<float> rows = read_floats(scene.optimizer->state()[0]);
    const std::vector<float> columns = read_floats(scene.optimizer->state()[1]);
    BOOST_REQUIRE_EQUAL(rows.size(), 123);
    BOOST_REQUIRE_EQUAL(columns.size(), 27);
    for (std::size_t row = 0; row < rows.size(); ++row)
        BOOST_CHECK_EQUAL(rows[row], row >= 30 && row < 33 ? sums[0][row] : 0);
    for (std::size_t column = 0; column < columns.size(); ++column)
        BOOST_CHECK_EQUAL(columns[column], column >= 20 ? sums[1][column] : 0);
}

// After steps, a move and a step: its state as a checkpoint has it, given to another optimizer, which goes on with the
// same bits through another move.
BOOST_DATA_TEST_CASE(a_restored_state_goes_on_bit_for_bit, data::make(cases), tested) {
    Scene scene(tested);
    for (std::uint64_t number = 0; number < 3; ++number) scene.step(number);
    scene.move(scene.draw_lists(2));
    scene.step(3, {0, 1});
    Scene resumed(tested);
    resumed.weights = scene.weights;
    resumed.lists = scene.lists;
    resumed.masks = resumed.masks_of(scene.lists);
    resumed.optimizer->set_updates(scene.optimizer->updates());
    constexpr std::uint64_t widths[] = {4, 2, 2, 1, 4};
    for (const OptimizerState &state : scene.optimizer->state()) {
        void *const target =
            resumed.optimizer->allocate_state(resumed.device(), resumed.masks, state.name, state.type, state.count);
        BOOST_REQUIRE(target != nullptr);
        std::memcpy(target, state.values, state.count * widths[static_cast<std::size_t>(state.type)]);
    }
    resumed.optimizer->check_restored(resumed.device(), resumed.masks);
    for (std::uint64_t number = 4; number < 8; ++number) {
        for (Scene *const going : {&scene, &resumed}) {
            going->step(number);
            if (number == 5) going->move(going->draw_lists(3));
        }
        BOOST_CHECK(resumed.weights == scene.weights);
    }
    BOOST_TEST(scene.optimizer->state().size() == resumed.optimizer->state().size());
    for (std::size_t array = 0; array < scene.optimizer->state().size(); ++array) {
        const OptimizerState a = scene.optimizer->state()[array], b = resumed.optimizer->state()[array];
        BOOST_TEST(std::string(a.name) == b.name);
        BOOST_REQUIRE_EQUAL(a.count, b.count);
        const std::uint64_t bytes = a.count * widths[static_cast<std::size_t>(a.type)];
        BOOST_CHECK_EQUAL(std::memcmp(a.values, b.values, bytes), 0);
    }
    for (std::size_t parameter = 0; parameter < 3; ++parameter)
        BOOST_CHECK(scene.ages(parameter) == resumed.ages(parameter));
}

// Grown scalars that have been observed for γ = 5 steps: moments as their formula has them, in float64.
BOOST_DATA_TEST_CASE(seeds_are_unbiased_means, data::make(cases), tested) {
    Scene scene(tested);
    constexpr std::uint32_t window = 5;
    for (std::uint64_t number = 0; number < 7; ++number) scene.step(number);
    const MaskLists to = scene.draw_lists(2);
    std::vector<std::uint32_t> grown;
    for (const std::uint32_t index : to[0])
        if (std::ranges::find(scene.lists[0], index) == scene.lists[0].end()) grown.push_back(index);
    std::vector<float> sums, squares;
    Draws draws(9);
    for (std::size_t seed = 0; seed < grown.size(); ++seed) {
        sums.push_back(static_cast<float>(draws.below(2001)) / 500 - 2);
        squares.push_back(1 + static_cast<float>(draws.below(1000)) / 500);
    }
    std::vector<std::uint32_t> positions;
    for (const std::uint32_t index : to[0]) {
        const auto place = std::ranges::find(grown, index);
        positions.push_back(place == grown.end() ? no_position : static_cast<std::uint32_t>(place - grown.begin()));
    }
    scene.move(to);
    std::vector<std::map<std::uint32_t, float>> before;
    for (const std::string &name : moment_names(tested.kind)) before.push_back(scene.moments(name, 0));
    const std::vector<float> given_sums = sums, given_squares = squares;
    scene.optimizer->seed(scene.device(), scene.masks,
                          {0, sums.data(), squares.data(), sums.size(), positions.data(), window});
    BOOST_CHECK(sums == given_sums);
    BOOST_CHECK(squares == given_squares);

    for (std::size_t at = 0; at < before.size(); ++at) {
        const std::string name = moment_names(tested.kind)[at];
        const auto after = scene.moments(name, 0);
        if (!has_ages(tested.kind)) {
            BOOST_CHECK(after == before[at]);
            continue;
        }
        const double beta = at == 0 ? 0.9 : 0.999, factor = (1 - std::pow(beta, window)) / window;
        double largest = 0;
        for (const auto &[index, value] : after) largest = std::max(largest, std::fabs(static_cast<double>(value)));
        for (std::size_t j = 0; j < positions.size(); ++j) {
            const bool seeded = positions[j] != no_position;
            const float given = seeded ? (at == 0 ? sums : squares)[positions[j]] : 0;
            const double expected = seeded ? factor * given : before[at].at(to[0][j]);
            // Two roundings of float32; one step of bfloat16; of 8 bits half the widest step between codes, and as
            // much again where a block's largest magnitude is negative, which no code is.
            const double tolerance = tested.state == SPEFT_STATE_FLOAT32    ? 0x1p-23 * std::fabs(expected)
                                     : tested.state == SPEFT_STATE_BFLOAT16 ? 0x1p-7 * std::fabs(expected)
                                                                            : 0.0142 * largest;
            BOOST_REQUIRE_LE(std::fabs(static_cast<double>(after.at(to[0][j])) - expected), tolerance);
            if (!seeded && tested.state != SPEFT_STATE_BLOCKS8)
                BOOST_REQUIRE_EQUAL(after.at(to[0][j]), before[at].at(to[0][j]));
        }
    }
    const std::vector<std::int64_t> ages = scene.ages(0);
    for (std::size_t j = 0; j < ages.size(); ++j)
        BOOST_REQUIRE_EQUAL(ages[j], positions[j] == no_position || !has_ages(tested.kind) ? 7 : window);
    scene.step(7);
    if (has_ages(tested.kind))
        for (std::size_t j = 0; j < ages.size(); ++j) BOOST_REQUIRE_EQUAL(scene.ages(0)[j], ages[j] + 1);
}

// Of seeds of a constant gradient g the bias corrections make g and g² again.
BOOST_AUTO_TEST_CASE(seeds_of_a_constant_gradient_are_that_gradient_once_corrected) {
    Scene scene({SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_FLOAT32});
    scene.step(0);
    MaskLists to = scene.lists;
    to[2] = {3, 4};
    scene.move(to);
    const float gradient = 0.25f, sums[] = {4 * gradient, 4 * gradient};
    const float squares[] = {4 * gradient * gradient, 4 * gradient * gradient};
    const std::uint32_t positions[] = {0, 1};
    scene.optimizer->seed(scene.device(), scene.masks, {2, sums, squares, 2, positions, 4});
    const auto m = scene.moments("moment1", 2), v = scene.moments("moment2", 2);
    // Three roundings lie between the moments and their formula.
    for (const std::uint32_t index : {3u, 4u}) {
        BOOST_CHECK_CLOSE_FRACTION(m.at(index) / (1 - std::pow(0.9, 4)), gradient, 3 * 0x1p-24);
        BOOST_CHECK_CLOSE_FRACTION(v.at(index) / (1 - std::pow(0.999, 4)), gradient * gradient, 3 * 0x1p-24);
    }
}

BOOST_AUTO_TEST_CASE(factored_moments_are_those_of_sm3_from_its_first_step_on) {
    for (const Case &tested : cases) {
        Scene scene(tested);
        BOOST_CHECK(scene.optimizer->factored_moments(0).rows == nullptr);
        scene.step(0);
        const FactoredMoments matrix = scene.optimizer->factored_moments(0);
        const FactoredMoments vector = scene.optimizer->factored_moments(2);
        if (tested.kind != SPEFT_OPTIMIZER_SM3) {
            BOOST_CHECK(matrix.rows == nullptr);
            continue;
        }
        BOOST_CHECK(matrix.column_count == 20);
        BOOST_CHECK(vector.column_count == 1);
        BOOST_CHECK(vector.columns == nullptr);
        std::vector<float> rows(30, 0.0f), columns(20, 0.0f), numbers(90, 0.0f);
        Draws draws(0), vector_draws(2);
        for (const std::uint32_t index : scene.lists[0]) {
            const float gradient = static_cast<float>(draws.below(2001)) / 1000 - 1;
            rows[index / 20] = std::max(rows[index / 20], gradient * gradient);
            columns[index % 20] = std::max(columns[index % 20], gradient * gradient);
        }
        for (const std::uint32_t index : scene.lists[2]) {
            const float gradient = static_cast<float>(vector_draws.below(2001)) / 1000 - 1;
            numbers[index] = gradient * gradient;
        }
        BOOST_CHECK(std::equal(rows.begin(), rows.end(), matrix.rows));
        BOOST_CHECK(std::equal(columns.begin(), columns.end(), matrix.columns));
        BOOST_CHECK(std::equal(numbers.begin(), numbers.end(), vector.rows));
    }
}

BOOST_AUTO_TEST_CASE(more_ages_than_a_cohort_has_numbers_are_refused) {
    constexpr std::uint32_t most = Ages::most_cohorts;
    Device &device = context().device();
    const std::vector<Parameter> parameters = {make_parameter("w", {most + 1}, Role::sparse)};
    std::vector<std::uint32_t> all(most + 1), positions(most + 1);
    for (std::uint32_t index = 0; index <= most; ++index) all[index] = positions[index] = index;
    const auto first = [&](std::uint32_t count) {
        Buffer<std::uint32_t> indices(device, count);
        device.copy_to_device(indices.data(), all.data(), count * sizeof(std::uint32_t));
        return make_masks(parameters, std::move(indices), {count});
    };
    const Masks before = first(most), after = first(most + 1);
    Ages ages(1);
    auto *const cohorts =
        static_cast<std::uint16_t *>(ages.allocate(device, before, "cohorts", StateType::uint16, most));
    auto *const births = static_cast<std::int32_t *>(ages.allocate(device, before, "births", StateType::int32, most));
    BOOST_REQUIRE((cohorts && births));
    for (std::uint32_t j = 0; j < most; ++j) {
        cohorts[j] = static_cast<std::uint16_t>(j);
        births[j] = static_cast<std::int32_t>(j);
    }
    ages.check(device, before, {most});
    positions[most] = no_position;
    expect_failure(SPEFT_INVALID_STATE, "65536 different updates",
                   [&] { ages.moved(device, {before, after, {positions.data()}, false}, {Fate::moves}, {most}); });
    positions[1] = no_position;  // one cohort dies, and another takes its place
    const Ages moved = ages.moved(device, {before, after, {positions.data()}, false}, {Fate::moves}, {most});
    std::vector<std::int64_t> counted(most + 1);
    moved.copy(device, after, 0, most, counted.data());
    BOOST_TEST(counted[0] == most);
    BOOST_TEST(counted[1] == 0);
    BOOST_TEST(counted[2] == most - 2);
    BOOST_TEST(counted[most] == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
