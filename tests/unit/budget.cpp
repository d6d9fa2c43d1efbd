// How many scalars are selected, and how a budget is shared out.
#include "core/selection/budget.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/status.h"
#include "tests/unit/failure.h"

using namespace speft;

namespace {

// Parameters without axes, of these sizes.
std::vector<Target> targets_of(const std::vector<std::uint64_t> &sizes) {
    std::vector<Target> targets;
    for (const std::uint64_t size : sizes)
        targets.push_back({targets.size(), std::string("p").append(std::to_string(targets.size())), size, 0});
    return targets;
}

std::vector<Target> matrices() { return {{0, "wide", 12 * 40, 12}, {1, "tall", 100 * 8, 100}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(budget)

// 0.7 · 100 is 69.999… in float64: whoever asks for 70% of 100 wants 70.
BOOST_AUTO_TEST_CASE(a_density_that_is_whole_in_decimal_is_not_cut_short) {
    for (std::uint64_t size : {100u, 1000u, 12345600u})
        for (int percent = 1; percent <= 100; ++percent)
            BOOST_TEST(count_at_density(percent / 100.0, size) == size * percent / 100);
}

BOOST_AUTO_TEST_CASE(at_least_one_scalar_is_selected_and_none_of_nothing) {
    BOOST_TEST(count_at_density(1e-12, 5) == 1u);
    BOOST_TEST(count_at_density(0.5, 0) == 0u);
    BOOST_TEST(count_at_density(1.0, 7) == 7u);
}

BOOST_AUTO_TEST_CASE(shares_add_up_and_are_each_within_one_of_the_proportion) {
    const std::vector<std::vector<std::uint64_t>> cases = {{1}, {3, 3, 3}, {10, 0, 1}, {147456, 589824, 589824, 1},
                                                            {4294967295u, 4294967295u, 7}};
    for (const auto &sizes : cases) {
        const std::uint64_t total = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
        for (const std::uint64_t budget : {std::uint64_t{1}, total / 7 + 1, total / 2, total}) {
            if (budget > total) continue;
            const std::vector<std::uint64_t> shares = share_out(budget, targets_of(sizes));
            BOOST_TEST(std::accumulate(shares.begin(), shares.end(), std::uint64_t{0}) == budget);
            for (std::size_t index = 0; index < sizes.size(); ++index) {
                BOOST_TEST(shares[index] <= sizes[index]);
                const long double exact = static_cast<long double>(budget) * sizes[index] / total;
                BOOST_TEST(std::fabs(static_cast<double>(shares[index] - exact)) < 1);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(of_equal_remainders_the_first_gets_more) {
    BOOST_TEST(share_out(4, targets_of({3, 3, 3})) == (std::vector<std::uint64_t>{2, 1, 1}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_budget_above_what_there_is_names_whose) {
    SelectionOptions options;
    options.budget = 11;
    BOOST_TEST(failure_of([&] { global_budget(options, targets_of({4, 6})); }).message.find("at most 10") !=
               std::string::npos);
    const Caught caught = failure_of([&] { tensor_budgets(options, targets_of({20, 6})); });
    BOOST_TEST(caught.status == SPEFT_INVALID_ARGUMENT);
    BOOST_TEST(caught.message.find("'p1'") != std::string::npos);
    options.budget = 9;
    const Caught row = failure_of([&] { row_budgets(options, matrices()); });
    BOOST_TEST(row.message.find("at most 8, the length of a row of parameter 'tall'") != std::string::npos);
}

// r·(rows + columns), the size of the factors of a low-rank update.
BOOST_AUTO_TEST_CASE(a_rank_counts_the_scalars_of_low_rank_factors) {
    SelectionOptions options;
    options.rank = 3;
    BOOST_TEST(tensor_budgets(options, matrices()) == (std::vector<std::uint64_t>{3 * 52, 3 * 108}),
               boost::test_tools::per_element());
    BOOST_TEST(global_budget(options, matrices()) == 3u * 160u);
    options.rank = 8;
    BOOST_TEST(failure_of([&] { global_budget(options, matrices()); }).message.find("'tall'") != std::string::npos);
    BOOST_TEST(failure_of([&] { global_budget(options, targets_of({100})); }).message.find("2 axes") !=
               std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_row_gets_its_density_and_at_least_one) {
    SelectionOptions options;
    options.scope = SPEFT_SCOPE_PER_ROW;
    options.density = 0.05;
    BOOST_TEST(row_budgets(options, matrices()) == (std::vector<std::uint64_t>{2, 1}),
               boost::test_tools::per_element());
    BOOST_TEST(total_budget(options, matrices()) == 2u * 12u + 1u * 100u);
    BOOST_TEST(failure_of([&] { row_budgets(options, targets_of({5})); }).message.find("'p0'") != std::string::npos);
}

// 1% of a model of 32,000 scalars are 320 of the 1,280 that are targeted, 25% of each.
BOOST_AUTO_TEST_CASE(a_density_of_the_whole_model_falls_on_the_targets) {
    SelectionOptions options;
    options.density = 0.01;
    options.model_scalars = 32000;
    BOOST_TEST(global_budget(options, matrices()) == 320u);
    BOOST_TEST(tensor_budgets(options, matrices()) == (std::vector<std::uint64_t>{120, 200}),
               boost::test_tools::per_element());
    options.model_scalars = 128100;
    BOOST_TEST(failure_of([&] { global_budget(options, matrices()); }).message.find("more than the 1280 scalars") !=
               std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
