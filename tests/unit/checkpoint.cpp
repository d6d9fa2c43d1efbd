// What only a forged checkpoint has: a state that its optimizer knows nothing of.
#include <memory>
#include <string>

#include <boost/test/unit_test.hpp>

#include "core/adapter/adapter.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

std::shared_ptr<Context> make_context() {
    ContextOptions options;
    options.backend = "cpu";
    options.backend_path = SPEFT_TEST_BACKEND_FOLDER;
    return std::make_shared<Context>(options);
}

AdapterRecord make_checkpoint() {
    Draws draws(1);
    AdapterRecord record = make_record(1);
    record.optimizer.age = SPEFT_AGE_PER_WEIGHT;
    record.optimizer.state = SPEFT_STATE_FLOAT32;
    add_training(draws, record);
    return record;
}

auto is_named(const std::string &name) {
    return [name](const StateRecord &state) { return state.name == name; };
}

StateRecord &state_of(AdapterRecord &record, const std::string &name) {
    return *std::ranges::find_if(record.training->state, is_named(name));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint)

BOOST_AUTO_TEST_CASE(an_adapter_keeps_all_that_a_record_has) {
    const AdapterRecord record = make_checkpoint();
    AdapterRecord again = Adapter(make_context(), record).record(true);
    std::ranges::sort(again.training->state, {}, &StateRecord::name);
    AdapterRecord expected = record;
    // The hash is computed anew from the originals, which the sample has drawn apart from it.
    for (std::size_t i = 0; i < expected.parameters.size(); ++i)
        expected.parameters[i].base_hash = again.parameters[i].base_hash;
    BOOST_CHECK(same(again, expected));
}

BOOST_AUTO_TEST_CASE(a_state_that_the_optimizer_does_not_have_is_refused) {
    const std::shared_ptr<Context> context = make_context();
    const auto refused = [&](const std::string &words, const auto &spoil) {
        AdapterRecord record = make_checkpoint();
        spoil(record);
        expect_failure(SPEFT_CORRUPT, words, [&] { Adapter(context, record); });
    };
    refused("\"velocity\"", [](AdapterRecord &record) { state_of(record, "moment1").name = "velocity"; });
    refused("\"moment1\"", [](AdapterRecord &record) { state_of(record, "moment1").type = "I32"; });
    refused("\"moment1\"", [](AdapterRecord &record) { record.optimizer.state = SPEFT_STATE_BFLOAT16; });
    refused("\"births\"", [](AdapterRecord &record) { record.optimizer.kind = SPEFT_OPTIMIZER_SM3; });
    refused("\"moment2\"", [](AdapterRecord &record) {
        StateRecord &state = state_of(record, "moment2");
        state.bytes.resize(4 * --state.count);
    });
    refused("\"births\"", [](AdapterRecord &record) { record.optimizer.age = SPEFT_AGE_COMMON; });
    refused("unknown type", [](AdapterRecord &record) { state_of(record, "moment1").type = "F64"; });
}

BOOST_AUTO_TEST_CASE(ages_that_no_training_leaves_are_refused) {
    const std::shared_ptr<Context> context = make_context();
    const auto refused = [&](const std::string &words, const auto &spoil) {
        AdapterRecord record = make_checkpoint();
        spoil(record);
        expect_failure(SPEFT_CORRUPT, words, [&] { Adapter(context, record); });
    };
    refused("only one of", [](AdapterRecord &record) { std::erase_if(record.training->state, is_named("births")); });
    refused("only one of", [](AdapterRecord &record) { std::erase_if(record.training->state, is_named("cohorts")); });
    refused("\"cohorts\" must be below 2; got 513", [](AdapterRecord &record) {
        state_of(record, "cohorts").bytes[0] = std::byte{1};
        state_of(record, "cohorts").bytes[1] = std::byte{2};
    });
    refused("\"births\" must not be above", [](AdapterRecord &record) {
        for (const std::size_t byte : {2, 6}) state_of(record, "births").bytes[byte] = std::byte{1};  // 65,536
    });
    refused("\"births\"", [](AdapterRecord &record) {
        StateRecord &births = state_of(record, "births");
        births.bytes.resize(4 * --births.count);
    });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
