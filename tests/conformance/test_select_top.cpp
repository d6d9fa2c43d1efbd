#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "speft/status.h"
#include "tests/conformance/scores.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Group {
    const char *name;
    std::vector<std::uint64_t> sizes;
    friend std::ostream &operator<<(std::ostream &out, const Group &group) { return out << group.name; }
};

const std::vector<Group> groups = {{"no tensor", {}},
                                   {"empty tensors", {0, 0}},
                                   {"one scalar", {1}},
                                   {"small ones", {7, 0, 1, 300, 16}},
                                   {"batches and pieces", {1023, 1025, 65537, 70001, 3}}};

struct Case {
    std::int32_t formula;
    float total_weight = 3.0f;
    std::vector<Tensor> weights{};
    std::vector<std::vector<float>> sums{};
};

Case make_case(const Group &group, std::int32_t formula, std::int32_t type, Values values) {
    Case test{.formula = formula};
    for (const std::uint64_t size : group.sizes) {
        const auto seed = static_cast<std::uint32_t>(test.sums.size());
        test.weights.emplace_back(type, make_values(size, values, 2 * seed));
        test.sums.push_back(make_values(size, values, 2 * seed + 1));
    }
    return test;
}

float compute_score(const Case &test, std::uint64_t tensor, std::uint64_t i) {
    return score_of(test.formula, test.weights[tensor].get(i), test.sums[tensor][i], test.total_weight);
}

struct Ranked {
    float score;
    std::uint64_t tensor;
    std::uint32_t index;
};

// All that can be selected, the first to be selected first. A stable sort keeps tensor and index order among ties.
std::vector<Ranked> rank(const Case &test) {
    std::vector<Ranked> ranking;
    for (std::uint64_t tensor = 0; tensor < test.sums.size(); ++tensor)
        for (std::uint64_t i = 0; i < test.sums[tensor].size(); ++i) {
            const float score = compute_score(test, tensor, i);
            if (!std::isnan(score)) ranking.push_back({score, tensor, static_cast<std::uint32_t>(i)});
        }
    std::stable_sort(ranking.begin(), ranking.end(),
                     [](const Ranked &a, const Ranked &b) { return a.score > b.score; });
    return ranking;
}

struct Answer {
    std::vector<std::uint32_t> indices;
    std::vector<std::uint64_t> counts;
    std::uint64_t eligible;
    bool operator==(const Answer &) const = default;
};

constexpr std::uint32_t untouched_index = 0xdeadbeefu;
constexpr std::uint64_t untouched_count = 0xdeadbeefu;

Answer make_answer(const Case &test, std::uint64_t k) {
    return {std::vector<std::uint32_t>(k, untouched_index),
            std::vector<std::uint64_t>(test.sums.size(), untouched_count), untouched_count};
}

Answer compute_truth(const Case &test, const std::vector<Ranked> &ranking, std::uint64_t k) {
    Answer answer = make_answer(test, k);
    answer.eligible = ranking.size();
    if (ranking.size() < k) return answer;
    std::vector<Ranked> selected(ranking.begin(), ranking.begin() + static_cast<std::ptrdiff_t>(k));
    std::sort(selected.begin(), selected.end(), [](const Ranked &a, const Ranked &b) {
        return a.tensor != b.tensor ? a.tensor < b.tensor : a.index < b.index;
    });
    answer.indices.clear();
    std::fill(answer.counts.begin(), answer.counts.end(), 0);
    for (const Ranked &scalar : selected) {
        answer.indices.push_back(scalar.index);
        ++answer.counts[scalar.tensor];
    }
    return answer;
}

// The tensors of a case on a device, and the arguments over them.
class Placed {
public:
    Placed(Device &device, const Case &test, std::uint64_t k)
        : answer_(make_answer(test, k)), indices_(device, answer_.indices) {
        const bool needs_weights =
            test.formula == SPEFT_SCORE_ABS_WEIGHT || test.formula == SPEFT_SCORE_ABS_PRODUCT;
        const bool needs_sums = test.formula != SPEFT_SCORE_ABS_WEIGHT;
        for (std::uint64_t tensor = 0; tensor < test.sums.size(); ++tensor) {
            weights_.push_back(std::make_unique<DeviceTensor>(device, test.weights[tensor]));
            sums_.push_back(std::make_unique<DeviceArray<float>>(device, test.sums[tensor]));
            scores_.push_back({.weights = needs_weights ? weights_.back()->data() : nullptr,
                               .sums = needs_sums ? sums_.back()->data() : nullptr,
                               .count = test.sums[tensor].size(),
                               .weights_type = test.weights[tensor].type(),
                               .formula = test.formula,
                               .total_weight = test.total_weight});
        }
        arguments = {.scores = scores_.data(),
                     .tensors = scores_.size(),
                     .k = k,
                     .indices = indices_.data(),
                     .counts = answer_.counts.data(),
                     .eligible = &answer_.eligible,
                     .progress = nullptr};
    }

    Answer read() const {
        Answer answer = answer_;
        answer.indices = indices_.read();
        return answer;
    }

    speft_select_top arguments;

private:
    Answer answer_;
    DeviceArray<std::uint32_t> indices_;
    std::vector<std::unique_ptr<DeviceTensor>> weights_;
    std::vector<std::unique_ptr<DeviceArray<float>>> sums_;
    std::vector<speft_score> scores_;
};

std::optional<Answer> run(const Subject &subject, const Settings &settings, const Case &test, std::uint64_t k) {
    Device device(*subject.table, settings);
    const Placed placed(device, test, k);
    if (!device.run(subject, &placed.arguments)) return {};
    return placed.read();
}

void check(const Answer &actual, const Answer &expected) {
    BOOST_TEST(actual.eligible == expected.eligible);
    BOOST_TEST(actual.counts == expected.counts, boost::test_tools::per_element());
    BOOST_TEST_REQUIRE((actual.indices == expected.indices));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(select_top)

BOOST_DATA_TEST_CASE(matches_a_stable_sort,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(groups) * data::make(formulas) *
                         data::make(scalar_types) * data::make(kinds_of_values),
                     subject, group, formula, type, values) {
    const Case test = make_case(group, formula, type, values);
    const std::vector<Ranked> ranking = rank(test);
    const std::uint64_t all = ranking.size();
    for (const std::uint64_t k : {std::uint64_t{0}, std::uint64_t{1}, all / 200, all / 2, all, all + 1}) {
        BOOST_TEST_CONTEXT("k = " << k) {
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, ranking, k));
        }
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings) *
                         data::make(kinds_of_values),
                     subject, settings, values) {
    const Case test = make_case(groups.back(), SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCALAR_BFLOAT16, values);
    const std::uint64_t k = 40000;
    if (const auto answer = run(subject, settings, test, k)) check(*answer, compute_truth(test, rank(test), k));
}

// Enough scalars for an implementation that ranks by sampling, with tensors of every size around a vector's, and many
// of them within one sample.
Case make_large_case(std::int32_t formula, std::int32_t type, Values values) {
    Group group{"", {60001, 0, 32768}};
    for (std::uint64_t size = 0; size < 500; ++size) group.sizes.push_back(size % 67);
    return make_case(group, formula, type, values);
}

BOOST_DATA_TEST_CASE(matches_a_stable_sort_of_many,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(formulas) *
                         data::make(scalar_types) * data::make({Values::ordinary, Values::special}),
                     subject, formula, type, values) {
    const Case test = make_large_case(formula, type, values);
    const std::vector<Ranked> ranking = rank(test);
    const std::uint64_t all = ranking.size();
    for (const std::uint64_t k : {std::uint64_t{1}, all / 1000, all / 100, all / 20, all / 8}) {
        BOOST_TEST_CONTEXT("k = " << k) {
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, ranking, k));
        }
    }
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings_for_many,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings) *
                         data::make({SPEFT_SCORE_ABS_WEIGHT, SPEFT_SCORE_ABS_PRODUCT}),
                     subject, settings, formula) {
    const Case test = make_large_case(formula, SPEFT_SCALAR_BFLOAT16, Values::ordinary);
    const std::uint64_t k = 1000;
    if (const auto answer = run(subject, settings, test, k)) check(*answer, compute_truth(test, rank(test), k));
}

// Scores that mislead whoever looks at a part of them: what a sample finds is then far too few or too many.
BOOST_DATA_TEST_CASE(is_not_misled_by_the_order_of_scores, data::make(subjects(SPEFT_OPERATION_SELECT_TOP)),
                     subject) {
    const std::uint64_t size = 200000, k = 1000;
    const std::vector<float> noise = make_values(size, Values::ordinary, 1);
    const auto all_at = [&](auto &&score) {
        std::vector<float> scores(size);
        for (std::uint64_t i = 0; i < size; ++i) scores[i] = score(i);
        return scores;
    };
    const std::vector<std::vector<float>> orders = {
        all_at([](std::uint64_t i) { return static_cast<float>(i); }),
        all_at([](std::uint64_t i) { return -static_cast<float>(i); }),
        all_at([](std::uint64_t i) { return i % 4096 == 17 ? 1.0f : -1.0f; }),
        all_at([&](std::uint64_t i) { return noise[i] + (i / k == 70 ? 100.0f : 0.0f); }),
        all_at([&](std::uint64_t i) { return i % 300 == 0 ? noise[i] : 0.0f; }),
        all_at([](std::uint64_t) { return -std::numeric_limits<float>::infinity(); }),
        all_at([&](std::uint64_t i) { return i < 2 * k ? noise[i] : std::numeric_limits<float>::quiet_NaN(); }),
        all_at([&](std::uint64_t i) { return i % 256 < 16 ? noise[i] : std::numeric_limits<float>::quiet_NaN(); }),
        all_at([&](std::uint64_t i) { return i < k - 1 ? noise[i] : std::numeric_limits<float>::quiet_NaN(); }),
    };
    for (std::uint64_t order = 0; order < orders.size(); ++order) {
        BOOST_TEST_CONTEXT("order " << order) {
            Case test{.formula = SPEFT_SCORE_GIVEN};
            test.weights.emplace_back(SPEFT_SCALAR_FLOAT32, noise);
            test.sums.push_back(orders[order]);
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, rank(test), k));
        }
    }
}

// Quotients that underflow, overflow, or are no number.
BOOST_DATA_TEST_CASE(matches_for_any_total_weight,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) *
                         data::make({SPEFT_SCORE_ABS_GRADIENT, SPEFT_SCORE_ABS_PRODUCT}) *
                         data::make({1.0f, 0x1p-20f, 7e-38f, 0x1.8p127f, 0.0f,
                                     std::numeric_limits<float>::infinity()}),
                     subject, formula, total_weight) {
    Case test = make_case({"", {50000}}, formula, SPEFT_SCALAR_BFLOAT16, Values::special);
    test.total_weight = total_weight;
    const std::vector<Ranked> ranking = rank(test);
    for (const std::uint64_t k : {std::uint64_t{100}, std::uint64_t{6000}}) {
        BOOST_TEST_CONTEXT("k = " << k) {
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, ranking, k));
        }
    }
}

// Scores below the smallest normal number are told apart, whatever the host's threads do with denormals.
BOOST_DATA_TEST_CASE(ranks_denormals,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings), subject,
                     settings) {
    Case test = make_case({"", {5000}}, SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCALAR_FLOAT32, Values::ordinary);
    for (float &sum : test.sums[0]) sum = std::ldexp(sum, -130);
    const std::uint64_t k = 1000;
    if (const auto answer = run(subject, settings, test, k)) check(*answer, compute_truth(test, rank(test), k));
}

namespace {

// Cancels at the `last` report, and notes what it was told.
struct Watcher {
    std::int64_t last;
    std::int64_t reports = 0;
    std::int64_t done = 0;
    bool ordered = true;

    static std::int32_t report(void *user, std::int64_t done, std::int64_t total) {
        auto &watcher = *static_cast<Watcher *>(user);
        watcher.ordered = watcher.ordered && watcher.done <= done && done <= total;
        watcher.done = done;
        return ++watcher.reports == watcher.last;
    }
};

// Runs the case with a watcher; the status, and the indices as they then are.
struct Watched {
    speft_status status;
    std::string message;
    Answer answer;
};

Watched run_watched(const Subject &subject, const Case &test, std::uint64_t k, Watcher &watcher) {
    Device device(*subject.table);
    Placed placed(device, test, k);
    const speft_progress progress = {.struct_size = sizeof progress, .user = &watcher, .report = Watcher::report};
    placed.arguments.progress = &progress;
    Watched watched;
    watched.status = device.run_failing(subject, &placed.arguments, watched.message);
    watched.answer = placed.read();
    return watched;
}

}  // namespace

BOOST_DATA_TEST_CASE(reports_and_can_be_cancelled, data::make(subjects(SPEFT_OPERATION_SELECT_TOP)), subject) {
    const Case test = make_case(groups.back(), SPEFT_SCORE_GIVEN, SPEFT_SCALAR_FLOAT32, Values::ordinary);
    const std::uint64_t k = 1000;
    Watcher patient{.last = 0};
    const Watched finished = run_watched(subject, test, k, patient);
    BOOST_TEST(finished.status == SPEFT_OK);
    check(finished.answer, compute_truth(test, rank(test), k));
    BOOST_TEST(patient.reports > 0);
    BOOST_TEST(patient.ordered);

    for (const std::int64_t last : {std::int64_t{1}, patient.reports}) {
        Watcher hasty{.last = last};
        const Watched cancelled = run_watched(subject, test, k, hasty);
        BOOST_TEST(cancelled.status == SPEFT_CANCELLED);
        BOOST_TEST(cancelled.message.find("cancel") != std::string::npos, cancelled.message);
        BOOST_TEST((cancelled.answer.indices == make_answer(test, k).indices), "cancelled, yet indices were written");
        BOOST_TEST(hasty.reports == last);
    }
}

BOOST_AUTO_TEST_SUITE_END()
