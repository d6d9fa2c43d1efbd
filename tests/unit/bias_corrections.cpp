// The tables of Adam's bias corrections: their values by age, and where they may end.
#include "core/optimizer/bias_corrections.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "core/adapter/context.h"

using namespace speft;

BOOST_AUTO_TEST_SUITE(bias_corrections)

BOOST_AUTO_TEST_CASE(every_age_has_its_correction_and_the_end_of_the_table_has_none) {
    ContextOptions options;
    options.backend = "cpu";
    options.backend_path = SPEFT_TEST_BACKEND_FOLDER;
    Context context(options);
    for (const auto &[beta1, beta2] : {std::pair{0.9, 0.999}, {0.0, 0.0}, {0.9, 0.99}, {0.5, 0.9999}}) {
        BiasCorrections corrections(beta1, beta2);
        for (const std::uint32_t reached : {1u, 2u, 300u, 10000000u}) {
            corrections.reach(context.device(), reached);
            const std::uint32_t last = std::min(reached, corrections.count() - 1);
            BOOST_TEST(last >= 1);
            for (const std::uint32_t age : {1u, 2u, last / 2 + 1, last}) {
                if (age > last) continue;
                const double first = 1 / (1 - std::pow(beta1, age));
                const double second = 1 / std::sqrt(1 - std::pow(beta2, age));
                BOOST_TEST(corrections.first()[age] == static_cast<float>(first));
                BOOST_TEST(corrections.second()[age] == static_cast<float>(second));
            }
        }
        // Clamping a larger age to the last entry changes nothing.
        BOOST_TEST(corrections.first()[corrections.count() - 1] == 1.0f);
        BOOST_TEST(corrections.second()[corrections.count() - 1] == 1.0f);
        BOOST_TEST(corrections.count() < 1000000u);
    }
}

BOOST_AUTO_TEST_SUITE_END()
