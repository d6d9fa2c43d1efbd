#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <map>
#include <optional>

#include "tests/conformance/factored.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

// optimizer.h, line by line, each operation rounded for itself.
void advance(FactoredStep &step) {
    HostSegment &segment = step.segment;
    std::vector<float> rows = step.rows, columns = step.columns_state;
    for (std::uint64_t j = 0; j < segment.count(); ++j) {
        const std::uint64_t row = segment.index(j) / step.columns, column = segment.index(j) % step.columns;
        const float g = rounded(step.gradient[j] * step.gradient_scale);
        const float least = step.columns > 1 && step.columns_state[column] < step.rows[row]
                                ? step.columns_state[column]
                                : step.rows[row];
        const float moment = rounded(least + rounded(g * g));
        const float delta = decay_first(segment, j, step.decay_kind, step.decay);
        const float direction = moment == 0 ? 0.0f : rounded(g / rounded(std::sqrt(moment)));
        const float moved = rounded(delta - rounded(step.learning_rate * direction));
        segment.update_delta(j, decay_last(moved, step.decay_kind, step.decay));
        if (moment > rows[row]) rows[row] = moment;
        if (step.columns > 1 && moment > columns[column]) columns[column] = moment;
    }
    step.rows = rows;
    step.columns_state = columns;
    segment.merge();
}

std::optional<std::vector<FactoredStep>> run(const Subject &subject, const Settings &settings,
                                             const std::vector<FactoredStep> &steps, int updates) {
    return run_steps<speft_step_sm3, PlacedFactoredStep>(subject, settings, steps, updates);
}

void check_updates(const Subject &subject, const Settings &settings, const std::vector<FactoredStep> &steps,
                   int updates) {
    check_steps(run(subject, settings, steps, updates), steps, updates, advance,
                [](const FactoredStep &actual, const FactoredStep &expected) {
                    check_same(actual.rows, expected.rows);
                    check_same(actual.columns_state, expected.columns_state);
                });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_sm3)

BOOST_DATA_TEST_CASE(matches_bit_for_bit,
                     data::make(subjects(SPEFT_OPERATION_STEP_SM3)) * data::make(matrices) *
                         data::make(scalar_types) * data::make(factored_variants),
                     subject, matrix, type, variant) {
    check_updates(subject, one_thread, {make_factored_step(matrix, type, Values::ordinary, variant, 1)}, 3);
}

BOOST_DATA_TEST_CASE(matches_on_special_values,
                     data::make(subjects(SPEFT_OPERATION_STEP_SM3)) * data::make(scalar_types) *
                         data::make(factored_variants),
                     subject, type, variant) {
    check_updates(subject, one_thread, {make_factored_step({100, 50}, type, Values::special, variant, 1)}, 2);
}

BOOST_DATA_TEST_CASE(takes_parameters_of_several_kinds, data::make(subjects(SPEFT_OPERATION_STEP_SM3)), subject) {
    check_updates(subject, one_thread, make_several_steps(), 2);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_STEP_SM3)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, values) {
    check_updates(subject, settings,
                  {make_factored_step({350, 200}, SPEFT_SCALAR_BFLOAT16, values, factored_variants[1], 1),
                   make_factored_step({3, 30000}, SPEFT_SCALAR_FLOAT32, values, factored_variants[3], 2),
                   make_factored_step({5, 1}, SPEFT_SCALAR_FLOAT32, values, factored_variants[3], 3)},
                  2);
}

// Squares so small that a thread that flushes denormals would lose them, and gradients whose squares are 0.
BOOST_DATA_TEST_CASE(keeps_denormal_sums,
                     data::make(subjects(SPEFT_OPERATION_STEP_SM3)) * data::make(other_settings), subject, settings) {
    FactoredStep step = make_factored_step({40, 50}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 1);
    std::fill(step.rows.begin(), step.rows.end(), 0.0f);
    std::fill(step.columns_state.begin(), step.columns_state.end(), 0.0f);
    for (float &gradient : step.gradient) gradient = std::ldexp(gradient, -70);
    check_updates(subject, settings, {step}, 2);
}

// The definition of Anil et al., by the cover sets themselves: μ(S) of each row and column, in float64.
BOOST_DATA_TEST_CASE(is_near_its_definition_in_float64, data::make(subjects(SPEFT_OPERATION_STEP_SM3)), subject) {
    constexpr int updates = 5;
    FactoredStep step = make_factored_step({30, 40}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 1);
    step.decay = 0;
    std::fill(step.rows.begin(), step.rows.end(), 0.0f);
    std::fill(step.columns_state.begin(), step.columns_state.end(), 0.0f);
    const auto after = run(subject, one_thread, {step}, updates);
    if (!after) return;
    const std::uint64_t count = step.segment.count();
    std::map<std::pair<char, std::uint64_t>, double> sums;
    std::vector<double> deltas(count), terms(count);
    for (std::uint64_t j = 0; j < count; ++j) deltas[j] = terms[j] = step.segment.deltas.get(j);
    for (int update = 0; update < updates; ++update) {
        std::vector<double> moments(count);
        for (std::uint64_t j = 0; j < count; ++j) {
            const double g = static_cast<double>(step.gradient[j]) * step.gradient_scale;
            const std::uint64_t place = step.segment.index(j);
            moments[j] = std::min(sums[{'r', place / 40}], sums[{'c', place % 40}]) + g * g;
            const double change = moments[j] == 0 ? 0 : step.learning_rate * g / std::sqrt(moments[j]);
            deltas[j] -= change;
            terms[j] = std::fabs(terms[j]) + std::fabs(change);
        }
        for (std::uint64_t j = 0; j < count; ++j) {
            const std::uint64_t place = step.segment.index(j);
            double &row = sums[{'r', place / 40}], &column = sums[{'c', place % 40}];
            row = std::max(row, moments[j]);
            column = std::max(column, moments[j]);
        }
    }
    // Each update has at most 8 roundings on a way from an input to a delta, and so have the sums before it: 8·5 halves
    // of 2^-23 of the terms.
    for (std::uint64_t j = 0; j < count; ++j)
        BOOST_REQUIRE_SMALL((*after)[0].segment.deltas.get(j) - deltas[j], 40 * 0x1p-24 * terms[j] + 1e-300);
}

// A NaN gradient spoils its own weight, and no row or column.
BOOST_DATA_TEST_CASE(a_nan_stays_where_it_is, data::make(subjects(SPEFT_OPERATION_STEP_SM3)), subject) {
    FactoredStep step = make_factored_step({30, 40}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 1);
    step.gradient[7] = std::numeric_limits<float>::quiet_NaN();
    const auto after = run(subject, one_thread, {step}, 3);
    if (!after) return;
    for (std::uint64_t j = 0; j < step.segment.count(); ++j)
        BOOST_REQUIRE_EQUAL(std::isnan((*after)[0].segment.deltas.get(j)), j == 7);
    for (const float sum : (*after)[0].rows) BOOST_REQUIRE(!std::isnan(sum));
    for (const float sum : (*after)[0].columns_state) BOOST_REQUIRE(!std::isnan(sum));
}

BOOST_AUTO_TEST_SUITE_END()
