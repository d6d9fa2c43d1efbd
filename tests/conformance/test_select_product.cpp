#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <memory>
#include <optional>

#include "speft/status.h"
#include "tests/conformance/products.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Part {
    std::uint64_t tokens;
    Tensor x, dy;
    float scale;
};

struct Matrix {
    std::uint64_t in, out;
    std::int32_t layout;
    std::vector<Part> parts{};
    std::vector<std::uint32_t> excluded{};
};

using Case = std::vector<Matrix>;

// How a case is cut: the tokens of each part.
struct Shape {
    std::uint64_t in, out;
    std::vector<std::uint64_t> tokens;
};

struct Group {
    const char *name;
    std::vector<Shape> shapes;
    friend std::ostream &operator<<(std::ostream &out, const Group &group) { return out << group.name; }
};

// Around the widths of vectors and tiles, and the blocks of tokens.
const std::vector<Group> groups = {
    {"no matrix", {}},
    {"empty matrices", {{0, 3, {2}}, {3, 0, {2}}, {0, 0, {}}}},
    {"one scalar", {{1, 1, {1}}}},
    {"small ones", {{5, 3, {1}}, {0, 4, {3}}, {49, 17, {2, 0, 5}}, {16, 8, {}}, {1, 65, {33}}, {48, 16, {0}}}},
    {"blocks of tokens", {{33, 20, {257}}, {17, 9, {600, 1, 30}}}},
};
// More than a buffer of candidates holds, which have to be thrown away time and again; and more rows than are
// multiplied at a time.
const Group many = {"many scalars", {{300, 210, {7}}, {3, 5, {2}}, {2, 2500, {3, 1}}}};
// More columns than are multiplied at a time.
const Group wide = {"a wide matrix", {{9000, 30, {2}}}};

template <class MakeTensor>
Case make_case(const Group &group, std::int32_t layout, std::int32_t x_type, std::int32_t dy_type, bool excluding,
               MakeTensor &&make_tensor) {
    Case test;
    std::uint32_t seed = 0;
    for (const Shape &shape : group.shapes) {
        Matrix matrix{shape.in, shape.out, layout};
        for (const std::uint64_t tokens : shape.tokens) {
            matrix.parts.push_back({tokens, make_tensor(x_type, tokens * shape.in, seed),
                                    make_tensor(dy_type, tokens * shape.out, seed + 1), seed % 4 ? 0.5f : -2.0f});
            seed += 2;
        }
        if (excluding) matrix.excluded = make_mask(shape.in * shape.out, 3, seed);
        test.push_back(std::move(matrix));
    }
    return test;
}

Tensor make_integers(std::int32_t type, std::uint64_t count, std::uint32_t seed) {
    return make_exact(type, count, 0, seed);
}

Case make_exact_case(const Group &group, std::int32_t layout, std::int32_t type, bool excluding) {
    return make_case(group, layout, type, type, excluding, make_integers);
}

// The gradient at every scalar of a matrix.
std::vector<ProductSum> compute_gradient(const Matrix &matrix) {
    std::vector<ProductSum> sums(matrix.in * matrix.out);
    for (const Part &part : matrix.parts) {
        const std::vector<double> x = values_of(part.x), dy = values_of(part.dy);
        for (std::uint64_t t = 0; t < part.tokens; ++t)
            for (std::uint64_t r = 0; r < matrix.out; ++r)
                for (std::uint64_t c = 0; c < matrix.in; ++c) {
                    const std::uint64_t index =
                        matrix.layout == SPEFT_LAYOUT_OUT_IN ? r * matrix.in + c : c * matrix.out + r;
                    sums[index].add(part.scale * dy[t * matrix.out + r] * x[t * matrix.in + c]);
                }
    }
    return sums;
}

struct Ranked {
    double score;
    double error;  // of the score in float32
    std::uint64_t tensor;
    std::uint32_t index;
};

std::uint64_t count_tokens(const Matrix &matrix) {
    std::uint64_t tokens = 0;
    for (const Part &part : matrix.parts) tokens += part.tokens;
    return tokens;
}

// All that can be selected, the first to be selected first. A stable sort keeps tensor and index order among ties.
std::vector<Ranked> rank(const Case &test) {
    std::vector<Ranked> ranking;
    for (std::uint64_t tensor = 0; tensor < test.size(); ++tensor) {
        const std::vector<ProductSum> sums = compute_gradient(test[tensor]);
        // A term is rounded as a product, in at most `tokens` additions, and with the scale; a part's sum is rounded
        // where it is added, at most once a token. Each rounding is half of 2^-23 of the magnitude so far.
        const double tolerance = (2.0 * static_cast<double>(count_tokens(test[tensor])) + 3.0) * 0x1p-24;
        const std::vector<std::uint32_t> &excluded = test[tensor].excluded;
        for (std::uint32_t i = 0; i < sums.size(); ++i)
            if (!std::isnan(sums[i].value) && !std::binary_search(excluded.begin(), excluded.end(), i))
                ranking.push_back({std::fabs(sums[i].value), tolerance * sums[i].magnitude, tensor, i});
    }
    std::stable_sort(ranking.begin(), ranking.end(),
                     [](const Ranked &a, const Ranked &b) { return a.score > b.score; });
    return ranking;
}

struct Answer {
    std::vector<std::uint32_t> indices;
    std::vector<std::uint64_t> counts;
    std::uint64_t eligible;
};

constexpr std::uint32_t untouched_index = 0xdeadbeefu;
constexpr std::uint64_t untouched_count = 0xdeadbeefu;

Answer make_answer(const Case &test, std::uint64_t k) {
    return {std::vector<std::uint32_t>(k, untouched_index), std::vector<std::uint64_t>(test.size(), untouched_count),
            untouched_count};
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

// The factors of a case on a device, and the arguments over them.
class Placed {
public:
    Placed(Device &device, const Case &test, std::uint64_t k)
        : answer_(make_answer(test, k)), indices_(device, answer_.indices), parts_(test.size()) {
        for (std::uint64_t tensor = 0; tensor < test.size(); ++tensor) {
            const Matrix &matrix = test[tensor];
            for (const Part &part : matrix.parts)
                parts_[tensor].push_back({.x = place(device, part.x),
                                          .dy = place(device, part.dy),
                                          .tokens = part.tokens,
                                          .x_type = part.x.type(),
                                          .dy_type = part.dy.type(),
                                          .scale = part.scale,
                                          .reserved = 0});
            excluded_.push_back(std::make_unique<DeviceArray<std::uint32_t>>(device, matrix.excluded));
            scores_.push_back({.parts = parts_[tensor].data(),
                               .count = parts_[tensor].size(),
                               .in = matrix.in,
                               .out = matrix.out,
                               .excluded = matrix.excluded.empty() ? nullptr : excluded_.back()->data(),
                               .excluded_count = matrix.excluded.size(),
                               .layout = matrix.layout,
                               .reserved = 0});
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

    speft_select_product arguments;

private:
    const void *place(Device &device, const Tensor &tensor) {
        factors_.push_back(std::make_unique<DeviceTensor>(device, tensor));
        return factors_.back()->data();
    }

    Answer answer_;
    DeviceArray<std::uint32_t> indices_;
    std::vector<std::unique_ptr<DeviceTensor>> factors_;
    std::vector<std::unique_ptr<DeviceArray<std::uint32_t>>> excluded_;
    std::vector<std::vector<speft_product_factors>> parts_;
    std::vector<speft_product_score> scores_;
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

void check_exactly(const Subject &subject, const Settings &settings, const Case &test,
                   const std::vector<std::uint64_t> &ks) {
    const std::vector<Ranked> ranking = rank(test);
    for (const std::uint64_t k : ks) {
        BOOST_TEST_CONTEXT("k = " << k) {
            const auto answer = run(subject, settings, test, k);
            if (answer) check(*answer, compute_truth(test, ranking, k));
        }
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(select_product)

BOOST_DATA_TEST_CASE(matches_a_stable_sort,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(groups) *
                         data::make(weight_layouts) * data::make(product_types) * data::make({false, true}),
                     subject, group, layout, type, excluding) {
    const Case test = make_exact_case(group, layout, type, excluding);
    const std::uint64_t all = rank(test).size();
    check_exactly(subject, one_thread, test, {0, 1, all / 20, all / 2, all, all + 1});
}

BOOST_DATA_TEST_CASE(matches_a_stable_sort_of_many,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(weight_layouts) *
                         data::make(product_types) * data::make({false, true}),
                     subject, layout, type, excluding) {
    check_exactly(subject, one_thread, make_exact_case(many, layout, type, excluding), {1, 300, 5000, 20000});
}

BOOST_DATA_TEST_CASE(matches_a_stable_sort_of_a_wide_matrix, data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)),
                     subject) {
    check_exactly(subject, one_thread, make_exact_case(wide, SPEFT_LAYOUT_OUT_IN, SPEFT_SCALAR_BFLOAT16, true),
                  {10000});
}

BOOST_DATA_TEST_CASE(takes_every_type,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(scalar_types) *
                         data::make(scalar_types),
                     subject, x_type, dy_type) {
    const Case test = make_case(groups[3], SPEFT_LAYOUT_OUT_IN, x_type, dy_type, true, make_integers);
    check_exactly(subject, one_thread, test, {100});
}

BOOST_DATA_TEST_CASE(takes_parts_of_several_types, data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)), subject) {
    Case test = make_exact_case(groups[4], SPEFT_LAYOUT_OUT_IN, SPEFT_SCALAR_BFLOAT16, false);
    test[1].parts[2].dy = make_exact(SPEFT_SCALAR_FLOAT16, 30 * test[1].out, 0, 9);
    check_exactly(subject, one_thread, test, {200});
}

// Scores that are a function of the index, in orders that keep the fewest and the most candidates.
BOOST_DATA_TEST_CASE(is_not_misled_by_the_order_of_scores, data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)),
                     subject) {
    const std::uint64_t size = 50000;
    const auto check_order = [&](auto &&score) {
        std::vector<float> scores(size);
        for (std::uint64_t i = 0; i < size; ++i) scores[i] = score(i);
        const Tensor one(SPEFT_SCALAR_FLOAT32, std::vector<float>{1.0f}), all(SPEFT_SCALAR_FLOAT32, scores);
        check_exactly(subject, one_thread, {{1, size, SPEFT_LAYOUT_OUT_IN, {{1, one, all, 1.0f}}}}, {1, 1000});
    };
    check_order([](std::uint64_t i) { return static_cast<float>(i); });
    check_order([](std::uint64_t i) { return -static_cast<float>(size - i); });
    check_order([](std::uint64_t i) { return i % 4096 == 17 ? 1.0f : -1.0f; });
    check_order([](std::uint64_t i) { return i / 1000 == 40 ? 2.0f : 0.0f; });
    check_order([](std::uint64_t) { return std::numeric_limits<float>::infinity(); });
    check_order([](std::uint64_t i) {
        return i % 40 == 0 ? static_cast<float>(i % 7) : std::numeric_limits<float>::quiet_NaN();
    });
}

BOOST_DATA_TEST_CASE(takes_the_first_of_zeros, data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)), subject) {
    const Case test = make_case(many, SPEFT_LAYOUT_OUT_IN, SPEFT_SCALAR_BFLOAT16, SPEFT_SCALAR_BFLOAT16, true,
                                [](std::int32_t type, std::uint64_t count, std::uint32_t) {
                                    return Tensor(type, count);
                                });
    check_exactly(subject, one_thread, test, {1, 10000, 43000});
}

// Infinities are the largest, and a NaN is none: ∞ − ∞, ∞·0 and a NaN itself.
BOOST_DATA_TEST_CASE(ranks_infinities_but_no_nan,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(product_types), subject, type) {
    Case test = make_exact_case(groups[3], SPEFT_LAYOUT_IN_OUT, type, false);
    Tensor &x = test[2].parts[0].x, &dy = test[2].parts[2].dy;
    x.set(3, std::numeric_limits<float>::infinity());
    x.set(40, -std::numeric_limits<float>::infinity());
    dy.set(5, std::numeric_limits<float>::infinity());
    dy.set(6, std::numeric_limits<float>::quiet_NaN());
    const std::uint64_t all = rank(test).size();
    check_exactly(subject, one_thread, test, {10, 100, all, all + 1});
}

BOOST_DATA_TEST_CASE(is_near_float64,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make({groups[4], many}) *
                         data::make(weight_layouts) * data::make(product_types),
                     subject, group, layout, type) {
    const Case test = make_case(group, layout, type, type, true, make_ordinary);
    const std::vector<Ranked> ranking = rank(test);
    const std::uint64_t k = ranking.size() / 10;
    const auto answer = run(subject, one_thread, test, k);
    if (!answer) return;
    BOOST_TEST_REQUIRE(answer->eligible == ranking.size());
    BOOST_TEST_REQUIRE(std::is_sorted(answer->indices.begin(), answer->indices.begin() + answer->counts[0]));
    // Two scalars may change places where the errors of their scores reach from one to the other.
    double least_selected = std::numeric_limits<double>::infinity(), most_left = 0;
    std::uint64_t selected = 0;
    for (const Ranked &scalar : ranking) {
        auto begin = answer->indices.begin();
        for (std::uint64_t tensor = 0; tensor < scalar.tensor; ++tensor) begin += answer->counts[tensor];
        if (std::binary_search(begin, begin + answer->counts[scalar.tensor], scalar.index)) {
            least_selected = std::min(least_selected, scalar.score + scalar.error);
            ++selected;
        } else {
            most_left = std::max(most_left, scalar.score - scalar.error);
        }
    }
    BOOST_TEST(selected == k);
    BOOST_TEST(least_selected >= most_left);
}

BOOST_DATA_TEST_CASE(does_not_depend_on_settings,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(other_settings) *
                         data::make(product_types),
                     subject, settings, type) {
    const Case test = make_case(many, SPEFT_LAYOUT_IN_OUT, type, type, true, make_ordinary);
    const auto expected = run(subject, one_thread, test, 3000), actual = run(subject, settings, test, 3000);
    if (expected) check(*actual, *expected);
}

// Products below the smallest normal number are told apart, whatever the host's threads do with denormals.
BOOST_DATA_TEST_CASE(ranks_denormals,
                     data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)) * data::make(other_settings), subject,
                     settings) {
    const Case test = make_case(groups[3], SPEFT_LAYOUT_OUT_IN, SPEFT_SCALAR_FLOAT32, SPEFT_SCALAR_FLOAT32, false,
                                [](std::int32_t type, std::uint64_t count, std::uint32_t seed) {
                                    return make_exact(type, count, -73, seed);
                                });
    check_exactly(subject, settings, test, {100});
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

}  // namespace

BOOST_DATA_TEST_CASE(reports_and_can_be_cancelled, data::make(subjects(SPEFT_OPERATION_SELECT_PRODUCT)), subject) {
    const Case test = make_exact_case(many, SPEFT_LAYOUT_OUT_IN, SPEFT_SCALAR_BFLOAT16, false);
    const std::uint64_t k = 1000;
    Watcher patient{.last = 0};
    for (const std::int64_t last : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}}) {
        Device device(*subject.table);
        Placed placed(device, test, k);
        if (subject.implementation->refuse(device.handle(), &placed.arguments)) return;
        Watcher watcher{.last = last < 0 ? patient.reports : last};
        const speft_progress progress = {.struct_size = sizeof progress, .user = &watcher, .report = Watcher::report};
        placed.arguments.progress = &progress;
        std::string message;
        const speft_status status = device.run_failing(subject, &placed.arguments, message);
        BOOST_TEST(watcher.ordered);
        if (last == 0) {
            BOOST_TEST(status == SPEFT_OK);
            BOOST_TEST(watcher.reports > 0);
            check(placed.read(), compute_truth(test, rank(test), k));
            patient = watcher;
        } else {
            BOOST_TEST(status == SPEFT_CANCELLED);
            BOOST_TEST(message.find("cancel") != std::string::npos, message);
            BOOST_TEST((placed.read().indices == make_answer(test, k).indices), "cancelled, yet indices were written");
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()
