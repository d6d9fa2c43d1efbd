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
    bool own_ages;
    std::int32_t decay_kind;
    bool coupled = false;
    std::int32_t moments = SPEFT_STATE_FLOAT32;
    bool lazy = false;
    friend std::ostream &operator<<(std::ostream &out, const Variant &variant) {
        return out << (variant.masked ? "masked, " : "whole, ") << variant.deltas
                   << (variant.own_ages ? ", own ages" : "") << ", decay " << name_of_decay(variant.decay_kind)
                   << (variant.coupled ? ", coupled" : "") << ", moments of type " << variant.moments
                   << (variant.lazy ? ", lazy" : "");
    }
};

constexpr std::int32_t to_original = SPEFT_DECAY_TO_ORIGINAL, to_zero = SPEFT_DECAY_TO_ZERO,
                       after_update = SPEFT_DECAY_AFTER_UPDATE;

const std::vector<Variant> variants = {
    {true, Deltas::float32, false, to_original},
    {true, Deltas::float32, false, to_zero},
    {true, Deltas::float32, true, to_original},
    {true, Deltas::float32, true, to_zero},
    {false, Deltas::float32, false, to_zero},
    {false, Deltas::absolute, false, to_original},
    {false, Deltas::absolute, false, to_zero},
    {true, Deltas::absolute, true, to_zero},
    {true, Deltas::bfloat16, false, to_original},
    {true, Deltas::bfloat16, true, to_zero},
    {false, Deltas::bfloat16, false, to_original},
    {true, Deltas::float32, true, after_update},
    {false, Deltas::absolute, false, after_update},
    {true, Deltas::bfloat16, false, after_update, true},
    {true, Deltas::float32, false, to_original, true},
    {true, Deltas::float32, true, to_zero, true},
    {false, Deltas::absolute, false, to_zero, true},
    {true, Deltas::float32, true, to_zero, false, SPEFT_STATE_BFLOAT16},
    {false, Deltas::absolute, false, after_update, true, SPEFT_STATE_BFLOAT16},
    {true, Deltas::bfloat16, true, to_original, false, SPEFT_STATE_BLOCKS8},
    {true, Deltas::compact, false, to_zero},
    {false, Deltas::float32, false, to_zero, true, SPEFT_STATE_BLOCKS8},
    {true, Deltas::float32, false, to_original, false, SPEFT_STATE_FLOAT32, true},
    {false, Deltas::absolute, false, to_zero, false, SPEFT_STATE_FLOAT32, true},
    {false, Deltas::float32, false, after_update, false, SPEFT_STATE_BFLOAT16, true},
    {true, Deltas::float32, false, to_zero, true, SPEFT_STATE_BLOCKS8, true},
    {true, Deltas::bfloat16, false, to_zero, true, SPEFT_STATE_BFLOAT16, true},
    {true, Deltas::bfloat16, false, to_original, false, SPEFT_STATE_BLOCKS8, true},
};

// One parameter's part of a step, with its state.
struct HostStep {
    HostSegment segment;
    std::vector<float> gradient{};
    HostMoments moment1{}, moment2{};
    std::vector<std::uint16_t> cohorts{};
    std::vector<std::int32_t> births{};
    std::vector<std::uint16_t> ages{};
    bool own_ages = false, coupled = false, lazy = false;
    std::int32_t decay_kind = to_original;
    std::uint32_t age = 3;
    float learning_rate = 1e-2f, decay = 1e-3f, gradient_scale = 0.7f;
    float beta1 = 0.9f, one_minus_beta1 = 0.1f, beta2 = 0.99f, one_minus_beta2 = 0.01f, epsilon = 1e-8f;
};

// Short on purpose: later ages take the last entry.
constexpr std::uint32_t corrections = 6;

std::vector<float> make_corrections1() {
    std::vector<float> table(corrections);
    for (int age = 1; age < static_cast<int>(corrections); ++age)
        table[age] = static_cast<float>(1.0 / (1.0 - std::pow(0.9, age)));
    return table;
}

std::vector<float> make_corrections2() {
    std::vector<float> table(corrections);
    for (int age = 1; age < static_cast<int>(corrections); ++age)
        table[age] = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(0.99, age)));
    return table;
}

// Some of them, and all in some of the blocks that moments share a scale in.
void leave_out_gradients(HostStep &step) {
    for (std::uint64_t j = 0; j < step.gradient.size(); ++j)
        if (j % 3 == 0 || j / 64 % 4 == 1) step.gradient[j] = j % 2 ? 0.0f : -0.0f;
}

HostStep make_step(std::uint64_t length, std::int32_t type, Values values, Variant variant, std::uint32_t seed) {
    HostStep step{.segment = make_segment(length, type, values, variant.masked, variant.deltas, seed)};
    step.segment.merge();
    const std::uint64_t count = step.segment.count();
    step.gradient = make_values(count, values, seed + 3);
    std::vector<float> squares = make_values(count, Values::ordinary, seed + 5);
    for (float &moment : squares) moment *= moment;
    step.moment1 = {variant.moments, true, seed + 6, make_values(count, Values::ordinary, seed + 4)};
    step.moment2 = {variant.moments, false, seed + 7, squares};
    step.own_ages = variant.own_ages;
    step.decay_kind = variant.decay_kind;
    step.coupled = variant.coupled;
    step.lazy = variant.lazy;
    for (std::uint64_t j = 0; j < count; ++j) step.cohorts.push_back(static_cast<std::uint16_t>(j * 5 % 11));
    for (std::int32_t cohort = 0; cohort < 11; ++cohort) step.births.push_back(cohort % 4 - 3);
    for (std::uint64_t j = 0; j < count; ++j)
        step.ages.push_back(static_cast<std::uint16_t>(j % 7 == 3 ? 65535 - j % 3 : j % 9));
    if (step.lazy) leave_out_gradients(step);
    return step;
}

// The j-th weight has no part in a lazy step: its gradient is a zero of either sign.
bool is_left_out(const HostStep &step, std::uint64_t j) { return step.lazy && step.gradient[j] == 0.0f; }

// At the update that comes next.
std::uint32_t take_age(const HostStep &step, std::uint64_t j) {
    if (step.lazy) return std::min<std::uint32_t>(step.ages[j] + 1u, corrections - 1);
    const std::int32_t birth = step.own_ages ? step.births[step.cohorts[j]] : 0;
    return std::min(step.age - static_cast<std::uint32_t>(birth), corrections - 1);
}

// What did not move keeps its bits, in blocks if nothing of its block did.
void store_moved(HostMoments &moments, const std::vector<float> &values, const std::vector<bool> &has_moved) {
    const HostMoments before = moments;
    moments.store(values);
    const std::uint64_t group = moments.type == SPEFT_STATE_BLOCKS8 ? 64 : 1;
    for (std::uint64_t begin = 0; begin < has_moved.size(); begin += group) {
        const std::uint64_t end = std::min<std::uint64_t>(begin + group, has_moved.size());
        bool any = false;
        for (std::uint64_t j = begin; j < end; ++j) any = any || has_moved[j];
        if (any) continue;
        const std::uint64_t width = moments.width();
        std::memcpy(moments.bytes.data() + begin * width, before.bytes.data() + begin * width, (end - begin) * width);
        if (moments.type == SPEFT_STATE_BLOCKS8) moments.scales[begin / 64] = before.scales[begin / 64];
    }
}

// optimizer.h, line by line, each operation rounded for itself.
void advance(HostStep &step) {
    static const std::vector<float> corrections1 = make_corrections1(), corrections2 = make_corrections2();
    HostSegment &segment = step.segment;
    std::vector<float> moment1 = step.moment1.load(), moment2 = step.moment2.load();
    std::vector<bool> has_moved(segment.count());
    for (std::uint64_t j = 0; j < segment.count(); ++j) {
        if (is_left_out(step, j)) continue;
        has_moved[j] = true;
        const std::uint32_t age = take_age(step, j);
        if (step.lazy) step.ages[j] = static_cast<std::uint16_t>(std::min(step.ages[j] + 1, 65535));
        float g = rounded(step.gradient[j] * step.gradient_scale);
        if (step.coupled) g = couple(segment, j, step.decay_kind, step.decay, g);
        const float delta =
            step.coupled ? segment.deltas.get(j) : decay_first(segment, j, step.decay_kind, step.decay);
        const float m = rounded(rounded(step.beta1 * moment1[j]) + rounded(step.one_minus_beta1 * g));
        const float v = rounded(rounded(step.beta2 * moment2[j]) +
                                rounded(rounded(step.one_minus_beta2 * g) * g));
        const float numerator = rounded(rounded(step.learning_rate * corrections1[age]) * m);
        const float root = rounded(rounded(std::sqrt(v)) * corrections2[age]);
        const float denominator = rounded(root + step.epsilon);
        moment1[j] = m;
        moment2[j] = v;
        const float moved = rounded(delta - rounded(numerator / denominator));
        segment.update_delta(j, decay_last(moved, step.decay_kind, step.decay));
    }
    store_moved(step.moment1, moment1, has_moved);
    store_moved(step.moment2, moment2, has_moved);
    segment.merge();
}

struct Placed : PlacedStep {
    Placed(Device &device, const HostStep &step)
        : PlacedStep(device, step),
          moment1(device, step.moment1),
          moment2(device, step.moment2),
          cohorts(device, step.cohorts),
          births(device, step.births),
          ages(device, step.ages),
          corrections1(device, make_corrections1()),
          corrections2(device, make_corrections2()) {}

    speft_adamw_segment view(const HostStep &step) const {
        return {.segment = segment.view,
                .gradient = gradient.data(),
                .moment1 = moment1.view(),
                .moment2 = moment2.view(),
                .cohorts = step.own_ages ? cohorts.data() : nullptr,
                .births = births.data(),
                .ages = step.lazy ? ages.data() : nullptr,
                .age = step.age,
                .decay_kind = step.decay_kind,
                .coupled = step.coupled,
                .reserved = 0,
                .learning_rate = step.learning_rate,
                .decay = step.decay,
                .gradient_scale = step.gradient_scale,
                .beta1 = step.beta1,
                .one_minus_beta1 = step.one_minus_beta1,
                .beta2 = step.beta2,
                .one_minus_beta2 = step.one_minus_beta2,
                .epsilon = step.epsilon,
                .corrections = corrections,
                .corrections1 = corrections1.data(),
                .corrections2 = corrections2.data()};
    }

    void read(HostStep &step) const {
        PlacedStep::read(step);
        step.moment1 = moment1.read();
        step.moment2 = moment2.read();
        step.ages = ages.read();
    }

    DeviceMoments moment1, moment2;
    DeviceArray<std::uint16_t> cohorts;
    DeviceArray<std::int32_t> births;
    DeviceArray<std::uint16_t> ages;
    DeviceArray<float> corrections1, corrections2;
};

std::optional<std::vector<HostStep>> run(const Subject &subject, const Settings &settings,
                                         const std::vector<HostStep> &steps, int updates) {
    return run_steps<speft_step_adamw, Placed>(subject, settings, steps, updates);
}

void check_updates(const Subject &subject, const Settings &settings, const std::vector<HostStep> &steps,
                   int updates) {
    check_steps(run(subject, settings, steps, updates), steps, updates, advance,
                [](const HostStep &actual, const HostStep &expected) {
                    check_same(actual.moment1, expected.moment1);
                    check_same(actual.moment2, expected.moment2);
                    BOOST_TEST((actual.ages == expected.ages));
                });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_adamw)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(lengths) *
                         data::make(scalar_types) * data::make(variants),
                     subject, length, type, variant) {
    check_updates(subject, one_thread, {make_step(length, type, Values::ordinary, variant, 1)}, 3);
}

BOOST_DATA_TEST_CASE(matches_on_special_values,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(scalar_types) *
                         data::make(variants),
                     subject, type, variant) {
    check_updates(subject, one_thread, {make_step(5000, type, Values::special, variant, 1)}, 2);
}

BOOST_DATA_TEST_CASE(takes_parameters_of_several_kinds, data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)), subject) {
    std::vector<HostStep> steps;
    for (const Variant variant : variants)
        for (const std::int32_t type : scalar_types) {
            const auto seed = static_cast<std::uint32_t>(steps.size());
            steps.push_back(make_step(seed % 4 == 1 ? 0 : 400 * seed, type, Values::ordinary, variant, seed));
            steps.back().age = seed;
            steps.back().learning_rate = 1e-3f * static_cast<float>(seed);
        }
    for (HostStep &step : steps) step.age = std::max(step.age, 1u);
    check_updates(subject, one_thread, steps, 2);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, values) {
    check_updates(subject, settings,
                  {make_step(70001, SPEFT_SCALAR_BFLOAT16, values, variants[3], 1),
                   make_step(9001, SPEFT_SCALAR_BFLOAT16, values, variants.back(), 3),
                   make_step(5, SPEFT_SCALAR_FLOAT32, values, variants[5], 2)},
                  2);
}

// One that decays, is coupled, and whose age could grow: nothing of it moves, for a zero of either sign.
BOOST_DATA_TEST_CASE(leaves_weights_without_gradient_as_they_are,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(scalar_types) *
                         data::make(variants),
                     subject, type, variant) {
    if (!variant.lazy) return;
    HostStep before = make_step(1000, type, Values::special, variant, 1);
    for (std::uint64_t j = 0; j < before.gradient.size(); ++j) before.gradient[j] = j % 2 ? 0.0f : -0.0f;
    const auto after = run(subject, one_thread, {before}, 3);
    if (!after) return;
    const HostStep &step = after->front();
    BOOST_TEST((step.segment.deltas == before.segment.deltas));
    BOOST_TEST((step.segment.weights == before.segment.weights));
    BOOST_TEST((step.moment1.bytes == before.moment1.bytes));
    BOOST_TEST((step.moment1.scales == before.moment1.scales));
    BOOST_TEST((step.moment2.bytes == before.moment2.bytes));
    BOOST_TEST((step.moment2.scales == before.moment2.scales));
    BOOST_TEST((step.ages == before.ages));
}

// A NaN and the smallest denormal are no zeros; an age ends at the largest that it can hold.
BOOST_DATA_TEST_CASE(grows_older_by_any_other_gradient,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(variants), subject, variant) {
    if (!variant.lazy) return;
    HostStep before = make_step(600, SPEFT_SCALAR_FLOAT32, Values::ordinary, variant, 1);
    for (std::uint64_t j = 0; j < before.gradient.size(); ++j) {
        constexpr float gradients[] = {std::numeric_limits<float>::quiet_NaN(), 0x1p-149f, 0.0f, 0.5f};
        constexpr std::uint16_t ages[] = {0, 1, 65534, 65533, 65535};
        before.gradient[j] = gradients[j % 4];
        before.ages[j] = ages[j % 5];
    }
    const auto after = run(subject, one_thread, {before}, 2);
    if (!after) return;
    for (std::uint64_t j = 0; j < before.gradient.size(); ++j) {
        const int grown = j % 4 == 2 ? before.ages[j] : std::min(before.ages[j] + 2, 65535);
        BOOST_REQUIRE_EQUAL(after->front().ages[j], grown);
    }
    check_updates(subject, one_thread, {before}, 2);
}

// Moments so small that a thread that flushes denormals would lose them.
BOOST_DATA_TEST_CASE(keeps_denormal_moments,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(other_settings), subject,
                     settings) {
    HostStep step = make_step(1000, SPEFT_SCALAR_FLOAT32, Values::ordinary, variants[0], 1);
    for (float &gradient : step.gradient) gradient = std::ldexp(gradient, -68);
    std::vector<float> moment1 = step.moment1.load(), moment2 = step.moment2.load();
    for (float &moment : moment1) moment = std::ldexp(moment, -126);
    for (float &moment : moment2) moment = std::ldexp(moment, -130);
    step.moment1.store(moment1);
    step.moment2.store(moment2);
    check_updates(subject, settings, {step}, 2);
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAMW)) * data::make(variants), subject, variant) {
    if (variant.moments != SPEFT_STATE_FLOAT32) return;  // nothing is near then
    const HostStep before = make_step(3000, SPEFT_SCALAR_FLOAT32, Values::ordinary, variant, 1);
    const auto after = run(subject, one_thread, {before}, 1);
    if (!after) return;
    const std::vector<float> moment1 = before.moment1.load(), moment2 = before.moment2.load();
    for (std::uint64_t j = 0; j < before.segment.count(); ++j) {
        const int age = static_cast<int>(take_age(before, j));
        const bool last = before.decay_kind == after_update;
        const bool to_weight = before.decay_kind == to_zero && !before.segment.absolute;
        if (is_left_out(before, j)) continue;  // compared bit for bit elsewhere
        const double delta = before.segment.deltas.get(j);
        const double weight = before.segment.weights.get(before.segment.place(j));
        const double decay = last ? 0 : before.decay * (to_weight ? weight : delta);
        const double g = static_cast<double>(before.gradient[j]) * before.gradient_scale + (before.coupled ? decay : 0);
        const double old_part = static_cast<double>(before.beta1) * moment1[j];
        const double new_part = before.one_minus_beta1 * g;
        const double v = static_cast<double>(before.beta2) * moment2[j] + before.one_minus_beta2 * g * g;
        const double factor = before.learning_rate / (1.0 - std::pow(0.9, age)) /
                              (std::sqrt(v) / std::sqrt(1.0 - std::pow(0.99, age)) + before.epsilon);
        const double moved = delta - (before.coupled ? 0 : decay) - factor * (old_part + new_part);
        const double expected = last ? moved - before.decay * moved : moved;
        // At most 16 roundings lie on any way from an input to the result, each half of 2^-23 of a term that is no
        // larger than these; the two parts of m may cancel, so that each counts for itself, and so may the gradient
        // and a decay that is added to it: what that does to √v is at most the last term.
        const double terms =
            std::fabs(delta) + std::fabs(decay) +
            factor * (std::fabs(old_part) + std::fabs(new_part) + before.one_minus_beta1 * std::fabs(decay)) +
            std::fabs(factor * (old_part + new_part)) * (std::fabs(g) + 2 * std::fabs(decay)) *
                std::sqrt(before.one_minus_beta2 / v);
        // bfloat16 deltas then go to the next neighbour on either side: 2^-7 of their size away at most.
        const double tolerance = (16 * 0x1p-24 + (variant.deltas == Deltas::bfloat16 ? 0x1p-7 : 0)) * terms;
        BOOST_REQUIRE_SMALL((*after)[0].segment.deltas.get(j) - expected, tolerance + 1e-300);
    }
}

BOOST_AUTO_TEST_SUITE_END()
