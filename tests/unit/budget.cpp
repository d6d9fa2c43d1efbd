// How many scalars are selected, and how a budget is shared out.
#include "core/selection/budget.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/status.h"
#include "tests/unit/failure.h"

using namespace speft;

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
            const std::vector<std::uint64_t> shares = share_out(budget, sizes);
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
    BOOST_TEST(share_out(4, {3, 3, 3}) == (std::vector<std::uint64_t>{2, 1, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_budget_above_what_there_is_names_whose) {
    SelectionOptions options;
    options.budget = 11;
    BOOST_TEST(failure_of([&] { global_budget(options, {4, 6}); }).message.find("at most 10") != std::string::npos);
    const Caught caught = failure_of([&] { per_tensor_budgets(options, {20, 6}, {"first", "second"}); });
    BOOST_TEST(caught.status == SPEFT_INVALID_ARGUMENT);
    BOOST_TEST(caught.message.find("'second'") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
