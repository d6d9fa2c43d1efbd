#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "tests/conformance/moments.h"
#include "tests/conformance/steps.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Variant {
    bool masked;
    Deltas deltas;
    bool momentum;
    std::int32_t decay_kind;
    std::int32_t moments = SPEFT_STATE_FLOAT32;
    friend std::ostream &operator<<(std::ostream &out, const Variant &variant) {
        return out << (variant.masked ? "masked, " : "whole, ") << variant.deltas
                   << (variant.momentum ? ", momentum" : "") << ", decay " << name_of_decay(variant.decay_kind)
                   << ", moments of type " << variant.moments;
    }
};

constexpr std::int32_t to_original = SPEFT_DECAY_TO_ORIGINAL, to_zero = SPEFT_DECAY_TO_ZERO,
                       after_update = SPEFT_DECAY_AFTER_UPDATE;

const std::vector<Variant> variants = {
    {true, Deltas::float32, false, to_original},
    {true, Deltas::float32, false, to_zero},
    {true, Deltas::float32, true, to_original},
    {true, Deltas::float32, true, to_zero},
    {false, Deltas::float32, true, to_zero},
    {false, Deltas::absolute, false, to_zero},
    {true, Deltas::compact, true, to_zero},
    {true, Deltas::absolute, true, to_zero},
    {true, Deltas::bfloat16, false, to_original},
    {false, Deltas::bfloat16, true, to_zero},
    {true, Deltas::float32, true, after_update},
    {true, Deltas::bfloat16, false, after_update},
    {true, Deltas::float32, true, to_zero, SPEFT_STATE_BFLOAT16},
    {false, Deltas::absolute, true, after_update, SPEFT_STATE_BLOCKS8},
    {true, Deltas::bfloat16, false, to_original, SPEFT_STATE_BLOCKS8},
};

// One parameter's part of a step, with its state.
struct HostStep {
    HostSegment segment;
    std::vector<float> gradient{};
    HostMoments velocity{};
    bool has_momentum = false;
    std::int32_t decay_kind = to_original;
    float learning_rate = 0.3f, decay = 0.07f, gradient_scale = 0.7f, momentum = 0.9f;
};

HostStep make_step(std::uint64_t length, std::int32_t type, Values values, Variant variant, std::uint32_t seed) {
    HostStep step{.segment = make_segment(length, type, values, variant.masked, variant.deltas, seed)};
    step.segment.merge();
    step.gradient = make_values(step.segment.count(), values, seed + 3);
    step.velocity = {variant.moments, true, seed + 5, make_values(step.segment.count(), Values::ordinary, seed + 4)};
    step.has_momentum = variant.momentum;
    step.decay_kind = variant.decay_kind;
    return step;
}

// optimizer.h, line by line, each operation rounded for itself.
void advance(HostStep &step) {
    HostSegment &segment = step.segment;
    std::vector<float> velocity = step.velocity.load();
    for (std::uint64_t j = 0; j < segment.count(); ++j) {
        const float scaled = rounded(step.gradient[j] * step.gradient_scale);
        const float g = couple(segment, j, step.decay_kind, step.decay, scaled);
        if (step.has_momentum) velocity[j] = rounded(rounded(step.momentum * velocity[j]) + g);
        const float b = step.has_momentum ? velocity[j] : g;
        const float moved = rounded(segment.deltas.get(j) - rounded(step.learning_rate * b));
        segment.update_delta(j, decay_last(moved, step.decay_kind, step.decay));
    }
    if (step.has_momentum) step.velocity.store(velocity);
    segment.merge();
}

struct Placed : PlacedStep {
    Placed(Device &device, const HostStep &step) : PlacedStep(device, step), velocity(device, step.velocity) {}

    speft_sgd_segment view(const HostStep &step) const {
        return {.segment = segment.view,
                .gradient = gradient.data(),
                .velocity = step.has_momentum ? velocity.view() : speft_moments{},
                .decay_kind = step.decay_kind,
                .learning_rate = step.learning_rate,
                .decay = step.decay,
                .gradient_scale = step.gradient_scale,
                .momentum = step.momentum};
    }

    void read(HostStep &step) const {
        PlacedStep::read(step);
        step.velocity = velocity.read();
    }

    DeviceMoments velocity;
};

std::optional<std::vector<HostStep>> run(const Subject &subject, const Settings &settings,
                                         const std::vector<HostStep> &steps, int updates) {
    return run_steps<speft_step_sgd, Placed>(subject, settings, steps, updates);
}

void check_updates(const Subject &subject, const Settings &settings, const std::vector<HostStep> &steps,
                   int updates) {
    check_steps(run(subject, settings, steps, updates), steps, updates, advance,
                [](const HostStep &actual, const HostStep &expected) {
                    check_same(actual.velocity, expected.velocity);
                });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_sgd)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_STEP_SGD)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(variants),
                     subject, length, type, variant) {
    check_updates(subject, one_thread, {make_step(length, type, Values::ordinary, variant, 1)}, 3);
}

BOOST_DATA_TEST_CASE(matches_on_special_values,
                     data::make(subjects(SPEFT_OPERATION_STEP_SGD)) * data::make(scalar_types) *
                         data::make(variants),
                     subject, type, variant) {
    check_updates(subject, one_thread, {make_step(5000, type, Values::special, variant, 1)}, 2);
}

BOOST_DATA_TEST_CASE(takes_parameters_of_several_kinds, data::make(subjects(SPEFT_OPERATION_STEP_SGD)), subject) {
    std::vector<HostStep> steps;
    for (const Variant variant : variants)
        for (const std::int32_t type : scalar_types) {
            const auto seed = static_cast<std::uint32_t>(steps.size());
            steps.push_back(make_step(seed % 4 == 1 ? 0 : 400 * seed, type, Values::ordinary, variant, seed));
            steps.back().learning_rate = 1e-2f * static_cast<float>(seed);
        }
    check_updates(subject, one_thread, steps, 2);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_STEP_SGD)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, values) {
    check_updates(subject, settings,
                  {make_step(70001, SPEFT_SCALAR_BFLOAT16, values, variants[3], 1),
                   make_step(5, SPEFT_SCALAR_FLOAT32, values, variants[5], 2)},
                  2);
}

// Velocities so small that a thread that flushes denormals would lose them.
BOOST_DATA_TEST_CASE(keeps_denormal_velocities,
                     data::make(subjects(SPEFT_OPERATION_STEP_SGD)) * data::make(other_settings), subject, settings) {
    HostStep step = make_step(1000, SPEFT_SCALAR_FLOAT32, Values::ordinary, variants[2], 1);
    step.decay = 0;
    for (float &gradient : step.gradient) gradient = std::ldexp(gradient, -126);
    std::vector<float> velocities = step.velocity.load();
    for (float &velocity : velocities) velocity = std::ldexp(velocity, -126);
    step.velocity.store(velocities);
    check_updates(subject, settings, {step}, 2);
}

// With a velocity of zero and no decay the first update is plain gradient descent, whatever the momentum.
BOOST_DATA_TEST_CASE(starts_as_gradient_descent, data::make(subjects(SPEFT_OPERATION_STEP_SGD)), subject) {
    HostStep step = make_step(3000, SPEFT_SCALAR_FLOAT32, Values::ordinary, variants[2], 1);
    step.decay = 0;
    step.velocity.store(std::vector<float>(step.velocity.count()));
    const auto after = run(subject, one_thread, {step}, 1);
    if (!after) return;
    std::vector<float> scaled = step.gradient;
    for (float &gradient : scaled) gradient = rounded(gradient * step.gradient_scale);
    check_same((*after)[0].velocity.load(), scaled);
    step.has_momentum = false;
    const auto plain = run(subject, one_thread, {step}, 1);
    if (plain) check_same((*after)[0].segment.deltas, (*plain)[0].segment.deltas);
}

// Deltas of 1 that ought to move by a 64th of the way to the next bfloat16: the share that moves there is a 64th, of
// the weights of one step and of the steps of one weight.
BOOST_DATA_TEST_CASE(rounds_bfloat16_deltas_without_bias, data::make(subjects(SPEFT_OPERATION_STEP_SGD)), subject) {
    constexpr std::uint64_t count = 1000, keys = 1000;
    constexpr double share = 1.0 / 64, next = 1 + 0x1p-7;
    HostStep step = make_step(count, SPEFT_SCALAR_FLOAT32, Values::equal, {false, Deltas::bfloat16, false, to_original}, 1);
    step.segment.deltas = Tensor(SPEFT_SCALAR_BFLOAT16, std::vector<float>(count, 1.0f));
    step.segment.merge();
    step.gradient.assign(count, -static_cast<float>(share * 0x1p-7));
    step.learning_rate = step.gradient_scale = 1;
    step.decay = 0;
    std::vector<double> moved_in_step(keys), moved_of_weight(count);
    for (std::uint64_t key = 0; key < keys; ++key) {
        step.segment.rounding_key = static_cast<std::uint32_t>(key);
        const auto after = run(subject, one_thread, {step}, 1);
        if (!after) return;
        for (std::uint64_t j = 0; j < count; ++j) {
            const float delta = (*after)[0].segment.deltas.get(j);
            BOOST_REQUIRE((delta == 1.0f || delta == static_cast<float>(next)));
            moved_in_step[key] += delta != 1.0f;
            moved_of_weight[j] += delta != 1.0f;
        }
    }
    // Binomial counts: none of the 2,000 is 6 standard deviations off (chance: one in 10^5), nor is their sum 4.
    const double mean = share * count, deviation = std::sqrt(mean * (1 - share));
    double sum = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        BOOST_REQUIRE_SMALL(moved_in_step[i] - mean, 6 * deviation);
        BOOST_REQUIRE_SMALL(moved_of_weight[i] - mean, 6 * deviation);
        sum += moved_in_step[i];
    }
    BOOST_TEST(std::fabs(sum - keys * mean) < 4 * deviation * std::sqrt(static_cast<double>(keys)));
}

BOOST_AUTO_TEST_SUITE_END()
