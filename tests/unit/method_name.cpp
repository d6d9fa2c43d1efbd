#include "core/selection/method_name.h"

#include <set>
#include <string>

#include <boost/test/unit_test.hpp>

#include "tests/unit/adapter_samples.h"

namespace speft::testing {

BOOST_AUTO_TEST_SUITE(method_name)

BOOST_AUTO_TEST_CASE(every_method_has_one_and_is_found_by_it) {
    std::set<std::string> names;
    for (std::int32_t method = SPEFT_SELECT_RANDOM; method <= SPEFT_SELECT_SCORE_FUNCTION; ++method) {
        const char *name = get_method_name(method);
        BOOST_CHECK(find_method(name) == method);
        BOOST_CHECK(names.insert(name).second);
    }
    BOOST_CHECK_EQUAL(get_method_name(SPEFT_SELECT_GRASP_CODE), "grasp-code");
    BOOST_CHECK_EQUAL(get_method_name(SPEFT_SELECT_SPIEL_MA), "spiel-ma");
}

BOOST_AUTO_TEST_CASE(what_is_unknown_is_refused) {
    for (const std::int32_t method : {-1, 0, SPEFT_SELECT_SCORE_FUNCTION + 1})
        expect_failure(SPEFT_INVALID_ARGUMENT, "got " + std::to_string(method), [&] { get_method_name(method); });
    for (const char *name : {"", "Gradient", "gradient ", "grad"}) BOOST_CHECK(!find_method(name));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
