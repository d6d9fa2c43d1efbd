// Two adapters must not both keep the originals of one weight.
#include "core/adapter/residency.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "tests/unit/failure.h"

using namespace speft;

BOOST_AUTO_TEST_SUITE(residency)

BOOST_AUTO_TEST_CASE(overlapping_claims_are_refused_and_neighbours_are_not) {
    char memory[100] = {};
    const Claim first(memory + 20, 20, "first");
    const Caught caught = failure_of([&] { Claim(memory + 39, 10, "second"); });
    BOOST_TEST(caught.status == SPEFT_INVALID_STATE);
    BOOST_TEST(caught.message.find("'second'") != std::string::npos);
    BOOST_TEST(caught.message.find("'first'") != std::string::npos);
    BOOST_TEST(failure_of([&] { Claim(memory, 21, "before"); }).status == SPEFT_INVALID_STATE);
    BOOST_TEST(failure_of([&] { Claim(memory, 100, "around"); }).status == SPEFT_INVALID_STATE);
    BOOST_TEST(failure_of([&] { Claim(memory + 40, 10, "after"); }).status == SPEFT_OK);
    BOOST_TEST(failure_of([&] { Claim(memory, 20, "before"); }).status == SPEFT_OK);
    BOOST_TEST(failure_of([&] { Claim(memory + 25, 0, "empty"); }).status == SPEFT_OK);
}

BOOST_AUTO_TEST_CASE(a_claim_ends_with_its_owner_and_moves_with_it) {
    char memory[10] = {};
    Claim kept;
    {
        Claim made(memory, 10, "made");
        kept = std::move(made);
    }
    BOOST_TEST(failure_of([&] { Claim(memory, 1, "other"); }).status == SPEFT_INVALID_STATE);
    kept = {};
    BOOST_TEST(failure_of([&] { Claim(memory, 1, "other"); }).status == SPEFT_OK);
}

BOOST_AUTO_TEST_CASE(a_rebinding_may_overlap_its_own_claim) {
    char memory[20] = {};
    Claim claim(memory, 10, "weights");
    claim = Claim(memory + 5, 10, "weights", &claim);
    BOOST_TEST(failure_of([&] { Claim(memory, 5, "other"); }).status == SPEFT_OK);
    BOOST_TEST(failure_of([&] { Claim(memory + 14, 1, "other"); }).status == SPEFT_INVALID_STATE);
}

BOOST_AUTO_TEST_SUITE_END()
