#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <optional>

#include "speft/status.h"
#include "tests/conformance/scores.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Shape {
    std::uint64_t rows, columns;
    friend std::ostream &operator<<(std::ostream &out, const Shape &shape) {
        return out << shape.rows << " rows of " << shape.columns;
    }
};

const std::vector<Shape> shapes = {{1, 1}, {3, 1}, {1, 1000}, {7, 33}, {100, 64}, {5000, 5}, {3, 20011}};

struct Case {
    Shape shape;
    ScoredTensor tensor;
};

Case make_case(Shape shape, ScoreKind kind, Values values) {
    return {shape, make_scored_tensor(kind, shape.rows * shape.columns, values, 1, shape.columns)};
}

struct Answer {
    std::vector<std::uint32_t> indices;
    std::uint64_t short_row;
    std::uint64_t eligible;  // of the short row
};

// The flat indices of a row's scores that are not NaN, the first to be selected first. A stable sort keeps the order
// of ties.
std::vector<std::uint32_t> rank_row(const Case &test, const std::vector<float> &scores, std::uint64_t row) {
    std::vector<std::uint32_t> ranking;
    for (std::uint64_t i = row * test.shape.columns; i < (row + 1) * test.shape.columns; ++i)
        if (!std::isnan(scores[i])) ranking.push_back(static_cast<std::uint32_t>(i));
    std::stable_sort(ranking.begin(), ranking.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return scores[a] > scores[b]; });
    return ranking;
}

Answer compute_truth(const Case &test, std::uint64_t k) {
    std::vector<float> scores(test.tensor.size());
    for (std::uint64_t i = 0; i < scores.size(); ++i) scores[i] = test.tensor.score(i);
    Answer answer{{}, test.shape.rows, 0};
    for (std::uint64_t row = 0; row < test.shape.rows; ++row) {
        std::vector<std::uint32_t> ranking = rank_row(test, scores, row);
        if (ranking.size() < k) return {{}, row, ranking.size()};
        ranking.resize(k);
        std::sort(ranking.begin(), ranking.end());
        answer.indices.insert(answer.indices.end(), ranking.begin(), ranking.end());
    }
    return answer;
}

// A case on a device, and the arguments over it.
class Placed {
public:
    Placed(Device &device, const Case &test, std::uint64_t k)
        : tensor_(device, test.tensor),
          indices_(device, std::vector<std::uint32_t>(test.shape.rows * k, 0xdeadbeefu)) {
        arguments = {.score = tensor_.score,
                     .rows = test.shape.rows,
                     .k = k,
                     .indices = indices_.data(),
                     .short_row = &short_row_,
                     .eligible = &eligible_,
                     .progress = nullptr};
    }
    Placed(const Placed &) = delete;
    Placed &operator=(const Placed &) = delete;

    Answer read() const { return {indices_.read(), short_row_, eligible_}; }

    speft_select_rows arguments;

private:
    PlacedTensor tensor_;
    DeviceArray<std::uint32_t> indices_;
    std::uint64_t short_row_ = 0xdeadbeefu;
    std::uint64_t eligible_ = 0xdeadbeefu;
};

void check(const Subject &subject, const Settings &settings, const Case &test, std::uint64_t k) {
    Device device(*subject.table, settings);
    const Placed placed(device, test, k);
    if (!device.run(subject, &placed.arguments)) return;
    const Answer actual = placed.read(), expected = compute_truth(test, k);
    BOOST_TEST_REQUIRE(actual.short_row == expected.short_row);
    if (expected.short_row < test.shape.rows)
        BOOST_TEST(actual.eligible == expected.eligible);
    else
        BOOST_TEST((actual.indices == expected.indices));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(select_rows)

BOOST_DATA_TEST_CASE(matches_a_stable_sort_of_each_row,
                     data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)) * data::make(shapes) *
                         data::make(some_score_kinds) * data::make(kinds_of_values),
                     subject, shape, kind, values) {
    const Case test = make_case(shape, kind, values);
    for (const std::uint64_t k : {std::uint64_t{0}, std::uint64_t{1}, shape.columns / 3, shape.columns}) {
        BOOST_TEST_CONTEXT("k = " << k) { check(subject, one_thread, test, std::min(k, shape.columns)); }
    }
}

// Special values among the excluded, more than rows can spare, and all of one row.
BOOST_DATA_TEST_CASE(never_selects_what_is_excluded,
                     data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)) * data::make(all_score_kinds) *
                         data::make({2, 9}),
                     subject, kind, stride) {
    Case test = make_case({40, 150}, kind, Values::special);
    test.tensor.excluded = make_mask(test.tensor.size(), static_cast<std::uint32_t>(stride), 1);
    for (const std::uint64_t k : {0, 1, 20, 50, 150}) {
        BOOST_TEST_CONTEXT("k = " << k) { check(subject, one_thread, test, k); }
    }
    test.tensor.excluded.clear();
    for (std::uint64_t column = 0; column < test.shape.columns; ++column)
        test.tensor.excluded.push_back(static_cast<std::uint32_t>(7 * test.shape.columns + column));
    check(subject, one_thread, test, 1);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)) * data::make(other_settings) *
                         data::make({Values::ordinary, Values::few}),
                     subject, settings, values) {
    check(subject, settings, make_case({5000, 37}, {SPEFT_SCORE_ABS_PRODUCT, SPEFT_SCALAR_BFLOAT16}, values), 5);
}

BOOST_DATA_TEST_CASE(takes_no_rows, data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)), subject) {
    check(subject, one_thread, make_case({0, 5}, {SPEFT_SCORE_GIVEN, SPEFT_SCALAR_FLOAT32}, Values::ordinary), 3);
}

// The first of two rows with too few numbers, wherever they are.
BOOST_DATA_TEST_CASE(tells_the_first_short_row,
                     data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)) * data::make({0, 17, 4096, 8998}) *
                         data::make({1, 3}),
                     subject, first, threads) {
    constexpr std::uint64_t columns = 6;
    Case test = make_case({9000, columns}, {SPEFT_SCORE_GIVEN, SPEFT_SCALAR_FLOAT32}, Values::ordinary);
    const auto row = static_cast<std::uint64_t>(first);
    for (std::uint64_t column = 1; column < columns; column += 2)
        test.tensor.sums[row * columns + column] = std::numeric_limits<float>::quiet_NaN();
    for (std::uint64_t column = 0; column < columns; ++column)
        test.tensor.sums[8999 * columns + column] = std::numeric_limits<float>::quiet_NaN();
    const Answer expected = compute_truth(test, 4);
    BOOST_TEST_REQUIRE(expected.short_row == row);
    BOOST_TEST_REQUIRE(expected.eligible == 3u);
    check(subject, {"", threads}, test, 4);
}

BOOST_DATA_TEST_CASE(can_be_cancelled, data::make(subjects(SPEFT_OPERATION_SELECT_ROWS)), subject) {
    struct Reports {
        std::int64_t count = 0, done = 0, total = 0;
        std::int32_t answer = 0;
    } reports;
    const speft_progress progress = {.struct_size = sizeof progress,
                                     .user = &reports,
                                     .report = [](void *user, std::int64_t done, std::int64_t total) {
                                         auto &seen = *static_cast<Reports *>(user);
                                         ++seen.count;
                                         BOOST_TEST((seen.done < done && done <= total));
                                         seen.done = done;
                                         seen.total = total;
                                         return seen.answer;
                                     }};
    const Case test = make_case({20000, 5}, {SPEFT_SCORE_ABS_GRADIENT, SPEFT_SCALAR_FLOAT32}, Values::ordinary);
    Device device(*subject.table, other_settings[0]);
    Placed placed(device, test, 2);
    placed.arguments.progress = &progress;
    if (!device.run(subject, &placed.arguments)) return;
    BOOST_TEST(reports.count >= 2);
    BOOST_TEST((reports.total > 0 && reports.done == reports.total));
    reports = {.answer = 1};
    std::string message;
    BOOST_TEST(device.run_failing(subject, &placed.arguments, message) == SPEFT_CANCELLED);
    BOOST_TEST(reports.count == 1);
}

BOOST_AUTO_TEST_SUITE_END()
