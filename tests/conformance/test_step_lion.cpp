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
    std::int32_t decay_kind;
    std::int32_t moments = SPEFT_STATE_FLOAT32;
    friend std::ostream &operator<<(std::ostream &out, const Variant &variant) {
        return out << (variant.masked ? "masked, " : "whole, ") << variant.deltas
                   << ", decay " << name_of_decay(variant.decay_kind)
                   << ", moments of type " << variant.moments;
    }
};

constexpr std::int32_t to_original = SPEFT_DECAY_TO_ORIGINAL, to_zero = SPEFT_DECAY_TO_ZERO,
                       after_update = SPEFT_DECAY_AFTER_UPDATE;

const std::vector<Variant> variants = {
    {true, Deltas::float32, to_original},
    {true, Deltas::float32, to_zero},
    {true, Deltas::float32, after_update},
    {true, Deltas::absolute, to_zero},
    {false, Deltas::float32, to_zero},
    {false, Deltas::absolute, to_zero},
    {true, Deltas::compact, to_zero},
    {true, Deltas::bfloat16, to_original},
    {true, Deltas::float32, to_zero, SPEFT_STATE_BFLOAT16},
    {false, Deltas::absolute, after_update, SPEFT_STATE_BLOCKS8},
    {true, Deltas::bfloat16, to_original, SPEFT_STATE_BLOCKS8},
};

// One parameter's part of a step, with its state.
struct HostStep {
    HostSegment segment;
    std::vector<float> gradient{};
    HostMoments moment{};
    std::int32_t decay_kind = to_original;
    float learning_rate = 0.3f, decay = 0.07f, gradient_scale = 0.7f;
    float beta1 = 0.9f, one_minus_beta1 = 0.1f, beta2 = 0.99f, one_minus_beta2 = 0.01f;
};

HostStep make_step(std::uint64_t length, std::int32_t type, Values values, Variant variant, std::uint32_t seed) {
    HostStep step{.segment = make_segment(length, type, values, variant.masked, variant.deltas, seed)};
    step.segment.merge();
    step.gradient = make_values(step.segment.count(), values, seed + 3);
    step.moment = {variant.moments, true, seed + 5, make_values(step.segment.count(), Values::ordinary, seed + 4)};
    step.decay_kind = variant.decay_kind;
    return step;
}

// optimizer.h, line by line, each operation rounded for itself.
void advance(HostStep &step) {
    HostSegment &segment = step.segment;
    std::vector<float> moment = step.moment.load();
    for (std::uint64_t j = 0; j < segment.count(); ++j) {
        const float g = rounded(step.gradient[j] * step.gradient_scale);
        const float delta = decay_first(segment, j, step.decay_kind, step.decay);
        const float followed = rounded(rounded(step.beta1 * moment[j]) + rounded(step.one_minus_beta1 * g));
        const float sign = followed > 0 ? 1.0f : followed < 0 ? -1.0f : followed == 0 ? 0.0f : followed;
        const float moved = rounded(delta - rounded(step.learning_rate * sign));
        moment[j] = rounded(rounded(step.beta2 * moment[j]) + rounded(step.one_minus_beta2 * g));
        segment.update_delta(j, decay_last(moved, step.decay_kind, step.decay));
    }
    step.moment.store(moment);
    segment.merge();
}

struct Placed : PlacedStep {
    Placed(Device &device, const HostStep &step) : PlacedStep(device, step), moment(device, step.moment) {}

    speft_lion_segment view(const HostStep &step) const {
        return {.segment = segment.view,
                .gradient = gradient.data(),
                .moment = moment.view(),
                .decay_kind = step.decay_kind,
                .learning_rate = step.learning_rate,
                .decay = step.decay,
                .gradient_scale = step.gradient_scale,
                .beta1 = step.beta1,
                .one_minus_beta1 = step.one_minus_beta1,
                .beta2 = step.beta2,
                .one_minus_beta2 = step.one_minus_beta2};
    }

    void read(HostStep &step) const {
        PlacedStep::read(step);
        step.moment = moment.read();
    }

    DeviceMoments moment;
};

std::optional<std::vector<HostStep>> run(const Subject &subject, const Settings &settings,
                                         const std::vector<HostStep> &steps, int updates) {
    return run_steps<speft_step_lion, Placed>(subject, settings, steps, updates);
}

void check_updates(const Subject &subject, const Settings &settings, const std::vector<HostStep> &steps,
                   int updates) {
    check_steps(run(subject, settings, steps, updates), steps, updates, advance,
                [](const HostStep &actual, const HostStep &expected) {
                    check_same(actual.moment, expected.moment);
                });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_lion)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_STEP_LION)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(variants),
                     subject, length, type, variant) {
    check_updates(subject, one_thread, {make_step(length, type, Values::ordinary, variant, 1)}, 3);
}

BOOST_DATA_TEST_CASE(matches_on_special_values,
                     data::make(subjects(SPEFT_OPERATION_STEP_LION)) * data::make(scalar_types) *
                         data::make(variants),
                     subject, type, variant) {
    check_updates(subject, one_thread, {make_step(5000, type, Values::special, variant, 1)}, 2);
}

BOOST_DATA_TEST_CASE(takes_parameters_of_several_kinds, data::make(subjects(SPEFT_OPERATION_STEP_LION)), subject) {
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
                     data::make(subjects(SPEFT_OPERATION_STEP_LION)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, values) {
    check_updates(subject, settings,
                  {make_step(70001, SPEFT_SCALAR_BFLOAT16, values, variants[3], 1),
                   make_step(5, SPEFT_SCALAR_FLOAT32, values, variants[5], 2)},
                  2);
}

// Moments so small that a thread that flushes denormals would lose them.
BOOST_DATA_TEST_CASE(keeps_denormal_moments,
                     data::make(subjects(SPEFT_OPERATION_STEP_LION)) * data::make(other_settings), subject, settings) {
    HostStep step = make_step(1000, SPEFT_SCALAR_FLOAT32, Values::ordinary, variants[2], 1);
    step.decay = 0;
    for (float &gradient : step.gradient) gradient = std::ldexp(gradient, -126);
    std::vector<float> moments = step.moment.load();
    for (float &moment : moments) moment = std::ldexp(moment, -126);
    step.moment.store(moments);
    check_updates(subject, settings, {step}, 2);
}

// Each weight without decay moves by the learning rate or, where there is nothing to follow, not at all.
BOOST_DATA_TEST_CASE(moves_by_the_learning_rate, data::make(subjects(SPEFT_OPERATION_STEP_LION)), subject) {
    HostStep step = make_step(3000, SPEFT_SCALAR_FLOAT32, Values::few, variants[0], 1);
    step.decay = 0;
    step.moment.store(std::vector<float>(step.moment.count()));
    step.segment.deltas = Tensor(SPEFT_SCALAR_FLOAT32, step.segment.count());
    step.segment.merge();
    const auto after = run(subject, one_thread, {step}, 1);
    if (!after) return;
    for (std::uint64_t j = 0; j < step.segment.count(); ++j) {
        const float direction = static_cast<float>((step.gradient[j] > 0) - (step.gradient[j] < 0));
        BOOST_REQUIRE_EQUAL((*after)[0].segment.deltas.get(j), -direction * step.learning_rate);
    }
}

BOOST_AUTO_TEST_SUITE_END()
