#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <map>
#include <optional>

#include "tests/conformance/factored.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Expected {
    std::vector<double> deltas, terms;  // each delta, and the sum of what it was computed from
    std::map<std::uint64_t, double> rows, columns;
    double root_mean_square = 0;
};

// One update by the formulas of optimizer.h in float64, but for the type that the weights are merged to.
Expected advance(const FactoredStep &step) {
    const HostSegment &segment = step.segment;
    const std::uint64_t count = segment.count();
    struct Mean {
        double sum = 0, count = 0;
    };
    std::map<std::uint64_t, Mean> row_means, column_means;
    std::vector<double> gradients(count), directions(count);
    for (std::uint64_t j = 0; j < count; ++j) {
        // Rounded, as a gradient is before it is squared.
        gradients[j] = rounded(step.gradient[j] * step.gradient_scale);
        for (Mean *mean : {&row_means[segment.index(j) / step.columns], &column_means[segment.index(j) % step.columns]}) {
            mean->sum += gradients[j] * gradients[j] + step.epsilon;
            mean->count += 1;
        }
    }
    Expected expected;
    double row_total = 0, squares = 0;
    for (const auto &[row, mean] : row_means) {
        expected.rows[row] = static_cast<double>(step.beta2) * step.rows[row] + step.one_minus_beta2 * mean.sum / mean.count;
        row_total += mean.count * expected.rows[row];
    }
    if (step.columns > 1)
        for (const auto &[column, mean] : column_means)
            expected.columns[column] = static_cast<double>(step.beta2) * step.columns_state[column] +
                                       step.one_minus_beta2 * mean.sum / mean.count;
    for (std::uint64_t j = 0; j < count; ++j) {
        double moment = expected.rows[segment.index(j) / step.columns];
        if (step.columns > 1)
            moment *= expected.columns[segment.index(j) % step.columns] / (row_total / static_cast<double>(count));
        directions[j] = gradients[j] / std::sqrt(moment);
        squares += directions[j] * directions[j];
    }
    expected.root_mean_square = std::sqrt(squares / static_cast<double>(count));
    for (std::uint64_t j = 0; j < count; ++j) {
        const bool last = step.decay_kind == SPEFT_DECAY_AFTER_UPDATE;
        const bool to_weight = step.decay_kind == SPEFT_DECAY_TO_ZERO && !segment.absolute;
        const double delta = segment.deltas.get(j);
        const double decay = last ? 0 : step.decay * (to_weight ? segment.weights.get(segment.place(j)) : delta);
        const double change = step.learning_rate * directions[j] / std::max(1.0, expected.root_mean_square / step.clip);
        const double moved = delta - decay - change;
        expected.deltas.push_back(last ? moved - step.decay * moved : moved);
        expected.terms.push_back(std::fabs(delta) + std::fabs(decay) + std::fabs(change));
    }
    return expected;
}

std::optional<std::vector<FactoredStep>> run(const Subject &subject, const Settings &settings,
                                             const std::vector<FactoredStep> &steps, int updates) {
    return run_steps<speft_step_adafactor, PlacedFactoredStep>(subject, settings, steps, updates);
}

void check_update(const FactoredStep &before, const FactoredStep &after) {
    const Expected expected = advance(before);
    // Three roundings make a sum: of the mean, of each product, of the sum of both, which are not negative.
    constexpr double sum_tolerance = 3 * 0x1p-24;
    for (std::uint64_t row = 0; row < before.rows.size(); ++row) {
        if (!expected.rows.contains(row)) {
            BOOST_REQUIRE_EQUAL(after.rows[row], before.rows[row]);
            continue;
        }
        const double sum = expected.rows.at(row);
        BOOST_REQUIRE_SMALL(after.rows[row] - sum, sum_tolerance * sum);
    }
    for (std::uint64_t column = 0; column < before.columns_state.size(); ++column) {
        if (!expected.columns.contains(column)) {
            BOOST_REQUIRE_EQUAL(after.columns_state[column], before.columns_state[column]);
            continue;
        }
        const double sum = expected.columns.at(column);
        BOOST_REQUIRE_SMALL(after.columns_state[column] - sum, sum_tolerance * sum);
    }
    // Under the root there are three such sums (3·3 roundings), the rounding of s, a quotient and a product: 12, which
    // it halves. With the root, u, RMS, its quotient with the clip, whose own error is that of all u (7), u's quotient
    // with that, the product with lr, decay's two and two sums: 6 + 7 + 9 on any way to a delta.
    const double tolerance = 22 * 0x1p-24;
    const bool narrow = before.segment.deltas.type() == SPEFT_SCALAR_BFLOAT16;
    for (std::uint64_t j = 0; j < before.segment.count(); ++j)
        // bfloat16 deltas then go to the next neighbour on either side: 2^-7 of their size away at most.
        BOOST_REQUIRE_SMALL(after.segment.deltas.get(j) - expected.deltas[j],
                            (tolerance + (narrow ? 0x1p-7 : 0)) * expected.terms[j] + 1e-300);
    HostSegment merged = after.segment;
    merged.merge();
    check_same(after.segment.weights, merged.weights);
    BOOST_TEST((after.segment.originals == before.segment.originals));
    check_same(after.gradient, before.gradient);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_adafactor)

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)) * data::make(matrices) *
                         data::make(scalar_types) * data::make(factored_variants),
                     subject, matrix, type, variant) {
    FactoredStep step = make_factored_step(matrix, type, Values::ordinary, variant, 1);
    for (int update = 0; update < 3; ++update) {
        const auto after = run(subject, one_thread, {step}, 1);
        if (!after) return;
        check_update(step, (*after)[0]);
        step = (*after)[0];
    }
}

BOOST_DATA_TEST_CASE(takes_parameters_of_several_kinds, data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)),
                     subject) {
    const std::vector<FactoredStep> steps = make_several_steps();
    const auto after = run(subject, one_thread, steps, 1);
    if (!after) return;
    for (std::size_t s = 0; s < steps.size(); ++s) check_update(steps[s], (*after)[s]);
}

// Bit for bit, on several threads as on one: a matrix of many strips, one of few rows, and a vector.
BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::special}),
                     subject, settings, values) {
    const std::vector<FactoredStep> steps = {
        make_factored_step({700, 200}, SPEFT_SCALAR_BFLOAT16, values, factored_variants[1], 1),
        make_factored_step({3, 30000}, SPEFT_SCALAR_FLOAT32, values, factored_variants[3], 2),
        make_factored_step({9000, 1}, SPEFT_SCALAR_FLOAT32, values, factored_variants[3], 3)};
    const auto alone = run(subject, one_thread, steps, 2), beside = run(subject, settings, steps, 2);
    if (!alone || !beside) return;
    for (std::size_t s = 0; s < steps.size(); ++s) {
        check_same((*beside)[s].segment.deltas, (*alone)[s].segment.deltas);
        check_same((*beside)[s].segment.weights, (*alone)[s].segment.weights);
        check_same((*beside)[s].rows, (*alone)[s].rows);
        check_same((*beside)[s].columns_state, (*alone)[s].columns_state);
    }
}

// Without a gradient nothing moves, though all sums are as small as ε1; a large one is scaled down.
BOOST_DATA_TEST_CASE(bounds_the_size_of_an_update, data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)), subject) {
    FactoredStep step = make_factored_step({60, 40}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 1);
    step.decay = 0;
    std::fill(step.rows.begin(), step.rows.end(), 0.0f);
    std::fill(step.columns_state.begin(), step.columns_state.end(), 0.0f);
    step.beta2 = 0;
    step.one_minus_beta2 = 1;
    FactoredStep still = step;
    std::fill(still.gradient.begin(), still.gradient.end(), 0.0f);
    const auto unmoved = run(subject, one_thread, {still}, 2);
    if (!unmoved) return;
    for (std::uint64_t j = 0; j < still.segment.count(); ++j)
        BOOST_REQUIRE_EQUAL((*unmoved)[0].segment.deltas.get(j), still.segment.deltas.get(j));

    step.rows.assign(step.rows.size(), 1e-6f);  // much smaller than the gradients' squares
    step.columns_state.assign(step.columns_state.size(), 1e-6f);
    step.beta2 = 0.99f;
    step.one_minus_beta2 = 0.01f;
    const auto moved = run(subject, one_thread, {step}, 1);
    if (!moved) return;
    BOOST_TEST(advance(step).root_mean_square > 2);
    double squares = 0;
    for (std::uint64_t j = 0; j < step.segment.count(); ++j) {
        const double change = (*moved)[0].segment.deltas.get(j) - static_cast<double>(step.segment.deltas.get(j));
        squares += change * change / step.learning_rate / step.learning_rate;
    }
    // Each change is known to half of 2^-23 of a delta of at most 1, against a learning rate of 0.03.
    BOOST_CHECK_CLOSE_FRACTION(std::sqrt(squares / static_cast<double>(step.segment.count())), 1, 1e-5);
}

// A matrix whose squared gradients are of rank 1 is told exactly by its rows and columns: all directions are signs.
BOOST_DATA_TEST_CASE(knows_matrices_of_rank_one, data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)), subject) {
    FactoredStep step = make_factored_step({30, 20}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[4], 1);
    step.decay = 0;
    step.beta2 = 0;
    step.one_minus_beta2 = step.gradient_scale = 1;
    for (std::uint64_t i = 0; i < step.size; ++i)
        step.gradient[i] = static_cast<float>((i / 20 + 1) * (i % 20 + 3)) * (i % 7 < 3 ? -0.125f : 0.125f);
    step.segment.deltas = Tensor(SPEFT_SCALAR_FLOAT32, step.size);
    step.segment.merge();
    const auto after = run(subject, one_thread, {step}, 1);
    if (!after) return;
    for (std::uint64_t i = 0; i < step.size; ++i) {
        const float sign = step.gradient[i] > 0 ? 1.0f : -1.0f;
        // 22 roundings, as above.
        BOOST_CHECK_CLOSE_FRACTION((*after)[0].segment.deltas.get(i), -sign * step.learning_rate, 22 * 0x1p-24f);
    }
}

BOOST_DATA_TEST_CASE(a_nan_spoils_its_parameter_alone, data::make(subjects(SPEFT_OPERATION_STEP_ADAFACTOR)), subject) {
    std::vector<FactoredStep> steps = {
        make_factored_step({30, 40}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 1),
        make_factored_step({30, 40}, SPEFT_SCALAR_FLOAT32, Values::ordinary, factored_variants[0], 2)};
    steps[0].gradient[7] = std::numeric_limits<float>::quiet_NaN();
    const auto after = run(subject, one_thread, steps, 1);
    if (!after) return;
    for (std::uint64_t j = 0; j < steps[0].segment.count(); ++j)
        BOOST_REQUIRE(std::isnan((*after)[0].segment.deltas.get(j)));
    check_update(steps[1], (*after)[1]);
}

BOOST_AUTO_TEST_SUITE_END()
