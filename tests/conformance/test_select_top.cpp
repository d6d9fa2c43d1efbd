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

const std::vector<Group> small_groups = {{"no tensor", {}},
                                         {"empty tensors", {0, 0}},
                                         {"one scalar", {1}},
                                         {"small ones", {7, 0, 1, 300, 16}}};
const Group batches_and_pieces{"batches and pieces", {1023, 1025, 65537, 70001, 3}};

constexpr ScoreKind abs_product{SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCALAR_BFLOAT16};
constexpr ScoreKind given{SPEFT_SCORE_GIVEN, SPEFT_SCALAR_FLOAT32};

using Case = std::vector<ScoredTensor>;

Case make_case(const Group &group, ScoreKind kind, Values values, float total_weight = 3.0f) {
    Case test;
    for (const std::uint64_t size : group.sizes)
        test.push_back(make_scored_tensor(kind, size, values, static_cast<std::uint32_t>(test.size()),
                                          choose_columns(size), total_weight));
    return test;
}

struct Ranked {
    float score;
    std::uint64_t tensor;
    std::uint32_t index;
};

// All that can be selected, the first to be selected first. A stable sort keeps tensor and index order among ties.
std::vector<Ranked> rank(const Case &test) {
    std::vector<Ranked> ranking;
    for (std::uint64_t tensor = 0; tensor < test.size(); ++tensor)
        for (std::uint64_t i = 0; i < test[tensor].size(); ++i) {
            const float score = test[tensor].score(i);
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
            std::vector<std::uint64_t>(test.size(), untouched_count), untouched_count};
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
        for (const ScoredTensor &tensor : test) {
            tensors_.push_back(std::make_unique<PlacedTensor>(device, tensor));
            scores_.push_back(tensors_.back()->score);
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
    std::vector<std::unique_ptr<PlacedTensor>> tensors_;
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

void check_each(const Subject &subject, const Case &test, const std::vector<Ranked> &ranking,
                std::initializer_list<std::uint64_t> counts) {
    for (const std::uint64_t k : counts) {
        BOOST_TEST_CONTEXT("k = " << k) {
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, ranking, k));
        }
    }
}

// None of the scalars, one, shares of them, all, and more than there are.
void check_shares(const Subject &subject, const Case &test) {
    const std::vector<Ranked> ranking = rank(test);
    const std::uint64_t all = ranking.size();
    check_each(subject, test, ranking, {0, 1, all / 200, all / 2, all, all + 1});
}

// Shares that an implementation may find by sampling.
void check_small_shares(const Subject &subject, const Case &test) {
    const std::vector<Ranked> ranking = rank(test);
    const std::uint64_t all = ranking.size();
    check_each(subject, test, ranking, {1, all / 1000, all / 100, all / 20, all / 8});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(select_top)

BOOST_DATA_TEST_CASE(matches_a_stable_sort,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(small_groups) *
                         data::make(all_score_kinds) * data::make(kinds_of_values),
                     subject, group, kind, values) {
    check_shares(subject, make_case(group, kind, values));
}

BOOST_DATA_TEST_CASE(matches_a_stable_sort_across_pieces,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(some_score_kinds), subject,
                     kind) {
    check_shares(subject, make_case(batches_and_pieces, kind, Values::few));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings) *
                         data::make(kinds_of_values),
                     subject, settings, values) {
    const Case test = make_case(batches_and_pieces, abs_product, values);
    const std::uint64_t k = 40000;
    if (const auto answer = run(subject, settings, test, k)) check(*answer, compute_truth(test, rank(test), k));
}

// Enough scalars for an implementation that ranks by sampling, with tensors of every size around a vector's, and many
// of them within one sample.
Case make_large_case(ScoreKind kind, Values values) {
    Group group{"", {40001, 0, 8192}};
    for (std::uint64_t size = 0; size < 200; ++size) group.sizes.push_back(size % 67);
    return make_case(group, kind, values);
}

BOOST_DATA_TEST_CASE(matches_a_stable_sort_of_many,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(all_score_kinds) *
                         data::make({Values::ordinary, Values::special}),
                     subject, kind, values) {
    check_small_shares(subject, make_large_case(kind, values));
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings_for_many,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings) *
                         data::make({ScoreKind{SPEFT_SCORE_ABS_WEIGHT, SPEFT_SCALAR_BFLOAT16}, abs_product,
                                     ScoreKind{SPEFT_SCORE_LOW_RANK, SPEFT_SCALAR_BFLOAT16}}),
                     subject, settings, kind) {
    Case test = make_large_case(kind, Values::ordinary);
    if (kind.formula != SPEFT_SCORE_ABS_WEIGHT)
        for (ScoredTensor &tensor : test) tensor.excluded = make_mask(tensor.size(), 20, 1);
    const std::uint64_t k = 1000;
    if (const auto answer = run(subject, settings, test, k)) check(*answer, compute_truth(test, rank(test), k));
}

// Rows shorter than a vector, about a run of scalars, and longer.
BOOST_DATA_TEST_CASE(matches_for_rows_of_any_length,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) *
                         data::make({SPEFT_SCORE_SCALED_WEIGHT, SPEFT_SCORE_LOW_RANK, SPEFT_SCORE_MOMENTUM}) *
                         data::make({1, 2, 15, 64, 65, 4095, 4096, 4097, 9001}),
                     subject, formula, columns) {
    Case test;
    const auto length = static_cast<std::uint64_t>(columns);
    for (std::uint32_t seed = 0; seed < 2; ++seed)
        test.push_back(make_scored_tensor({formula, SPEFT_SCALAR_BFLOAT16}, (20000 / length + 1) * length,
                                          Values::ordinary, seed, length));
    check_small_shares(subject, test);
}

// ---- exclusion ----

BOOST_DATA_TEST_CASE(never_selects_what_is_excluded,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(all_score_kinds) *
                         data::make({2, 9}),
                     subject, kind, stride) {
    Case test = make_case({"", {7, 0, 10101, 1, 300, 4096, 33}}, kind, Values::special);
    for (std::uint32_t tensor = 0; tensor < test.size(); ++tensor)
        test[tensor].excluded = make_mask(test[tensor].size(), static_cast<std::uint32_t>(stride), tensor);
    check_shares(subject, test);
    // One tensor without, one of which all are excluded.
    test[2].excluded.clear();
    test[5].excluded = make_mask(test[5].size(), 1, 0);
    check_small_shares(subject, test);
}

// The excluded and the not-numbers overlap, and few others are left: the count of those is exact.
BOOST_DATA_TEST_CASE(counts_what_is_left, data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make({0, 1, 200}),
                     subject, left) {
    Case test = make_case({"", {9001, 30000}}, abs_product, Values::ordinary);
    for (ScoredTensor &tensor : test) {
        for (std::uint64_t i = 0; i < tensor.size(); ++i) {
            if (i >= 5000 && i < 5000 + static_cast<std::uint64_t>(left)) continue;
            if (i % 3 != 0) tensor.sums[i] = std::numeric_limits<float>::quiet_NaN();
            if (i % 3 != 1) tensor.excluded.push_back(static_cast<std::uint32_t>(i));
        }
    }
    const std::vector<Ranked> ranking = rank(test);
    BOOST_TEST_REQUIRE(ranking.size() == 2 * static_cast<std::uint64_t>(left));
    check_each(subject, test, ranking, {1, ranking.size(), ranking.size() + 1});
}

// All scores are equal, so that which are taken hangs on the places of those that are not.
BOOST_DATA_TEST_CASE(settles_ties_among_what_is_left,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make({1, 2, 50}), subject, stride) {
    Case test = make_case({"", {33, 20000, 5000}}, {SPEFT_SCORE_MOMENTUM, SPEFT_SCALAR_FLOAT32}, Values::equal);
    for (std::uint32_t tensor = 1; tensor < test.size(); ++tensor)
        test[tensor].excluded = make_mask(test[tensor].size(), static_cast<std::uint32_t>(stride), tensor);
    check_shares(subject, test);
    check_small_shares(subject, test);
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
            Case test = make_case({"", {size}}, given, Values::ordinary);
            test[0].sums = orders[order];
            const auto answer = run(subject, one_thread, test, k);
            if (answer) check(*answer, compute_truth(test, rank(test), k));
        }
    }
}

// Quotients that underflow, overflow, or are no number.
BOOST_DATA_TEST_CASE(matches_for_any_total_weight,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) *
                         data::make({SPEFT_SCORE_ABS_GRADIENT, SPEFT_SCORE_ABS_PRODUCT,
                                     SPEFT_SCORE_NEGATIVE_PRODUCT}) *
                         data::make({1.0f, 0x1p-20f, 7e-38f, 0x1.8p127f, 0.0f,
                                     std::numeric_limits<float>::infinity()}),
                     subject, formula, total_weight) {
    const Case test = make_case({"", {50000}}, {formula, SPEFT_SCALAR_BFLOAT16}, Values::special, total_weight);
    check_each(subject, test, rank(test), {100, 6000});
}

// Scores below the smallest normal number are told apart, whatever the host's threads do with denormals.
BOOST_DATA_TEST_CASE(ranks_denormals,
                     data::make(subjects(SPEFT_OPERATION_SELECT_TOP)) * data::make(other_settings) *
                         data::make({SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCORE_PRODUCT, SPEFT_SCORE_LOW_RANK}),
                     subject, settings, formula) {
    Case test = make_case({"", {5000}}, {formula, SPEFT_SCALAR_FLOAT32}, Values::ordinary);
    for (float &sum : test[0].sums) sum = std::ldexp(sum, -130);
    for (float &factor : test[0].left) factor = std::ldexp(factor, -130);
    const std::uint64_t k = 600;
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
    const Case test = make_case(batches_and_pieces, given, Values::ordinary);
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
