#include "backends/cpu/reference/score_keys.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/scalar_types.h"
#include "core/base/score.h"
#include "core/base/score_bracket.h"

namespace speft::cpu {
namespace {

// Scores of one formula and one element type.
template <std::int32_t constant_formula, class ScalarType>
struct Kind {
    static constexpr std::int32_t formula = constant_formula;
    using Scalar = ScalarType;
};

template <std::int32_t formula, class Visitor>
void visit_weights(const speft_score &score, Visitor &visitor) {
    visit_scalar(score.weights_type, [&](auto scalar) { visitor(Kind<formula, decltype(scalar)>{}); });
}

// visitor(Kind<…>{}) for the formula and the type of a tensor's scores.
template <class Visitor>
void visit_kind(const speft_score &score, Visitor &&visitor) {
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT: return visit_weights<SPEFT_SCORE_ABS_WEIGHT>(score, visitor);
    case SPEFT_SCORE_ABS_GRADIENT: return visitor(Kind<SPEFT_SCORE_ABS_GRADIENT, float>{});
    case SPEFT_SCORE_ABS_PRODUCT: return visit_weights<SPEFT_SCORE_ABS_PRODUCT>(score, visitor);
    case SPEFT_SCORE_GIVEN: return visitor(Kind<SPEFT_SCORE_GIVEN, float>{});
    case SPEFT_SCORE_PRODUCT: return visit_weights<SPEFT_SCORE_PRODUCT>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_PRODUCT: return visit_weights<SPEFT_SCORE_NEGATIVE_PRODUCT>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT: return visit_weights<SPEFT_SCORE_NEGATIVE_ABS_WEIGHT>(score, visitor);
    case SPEFT_SCORE_ABS_DIFFERENCE: return visit_weights<SPEFT_SCORE_ABS_DIFFERENCE>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE:
        return visit_weights<SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE>(score, visitor);
    case SPEFT_SCORE_SCALED_WEIGHT: return visit_weights<SPEFT_SCORE_SCALED_WEIGHT>(score, visitor);
    case SPEFT_SCORE_LOW_RANK: return visitor(Kind<SPEFT_SCORE_LOW_RANK, float>{});
    case SPEFT_SCORE_MOMENTUM: return visitor(Kind<SPEFT_SCORE_MOMENTUM, float>{});
    default:
        throw Failure(SPEFT_INTERNAL, "the CPU backend knows no score formula " + std::to_string(score.formula));
    }
}

// One row as a matrix of its own. Its columns are more than it has, a power of two, so that finding the row and the
// column of an index is no division.
template <class Kind>
speft_score take_row(speft_score score, std::uint64_t row) {
    if constexpr (Kind::formula == SPEFT_SCORE_SCALED_WEIGHT)
        score.weights = static_cast<const typename Kind::Scalar *>(score.weights) + row * score.columns;
    if (score.left) score.left += row * score.rank;
    score.columns = std::uint64_t{1} << 32;
    return score;
}

// write(i, score) for each scalar first + i of a run. The formula is a constant here, which takes its switch out of
// the loop.
template <class Kind, class Write>
void visit_run(speft_score score, std::uint64_t first, std::uint64_t count, Write write) {
    score.formula = Kind::formula;
    if constexpr (!has_factors(Kind::formula)) {
        for (std::uint64_t i = 0; i < count; ++i) write(i, compute_score<typename Kind::Scalar>(score, first + i));
    } else {
        for (std::uint64_t begin = 0, end; begin < count; begin = end) {
            const std::uint64_t row = (first + begin) / score.columns, column = (first + begin) % score.columns;
            end = std::min(count, begin + score.columns - column);
            const speft_score alone = take_row<Kind>(score, row);
            for (std::uint64_t i = begin; i < end; ++i)
                write(i, compute_score<typename Kind::Scalar>(alone, column + i - begin));
        }
    }
}

}  // namespace

void compute_scores(const speft_score &score, std::uint64_t first, std::uint64_t count, float *scores) {
    visit_kind(score, [&](auto kind) {
        visit_run<decltype(kind)>(score, first, count, [=](std::uint64_t i, float value) { scores[i] = value; });
    });
    for (const std::uint32_t index : find_excluded(score, first, count))
        scores[index - first] = std::numeric_limits<float>::quiet_NaN();
}

void compute_keys(const speft_score &score, std::uint64_t first, std::uint64_t count, std::uint32_t *keys) {
    visit_kind(score, [&](auto kind) {
        visit_run<decltype(kind)>(score, first, count,
                                  [=](std::uint64_t i, float value) { keys[i] = rank_key(value); });
    });
    for (const std::uint32_t index : find_excluded(score, first, count)) keys[index - first] = 0;
}

void compute_keys(const speft_score &score, std::span<const std::uint32_t> indices, std::uint32_t *keys) {
    visit_kind(score, [&](auto kind) {
        speft_score constant = score;
        constant.formula = kind.formula;
        for (std::uint64_t i = 0; i < indices.size(); ++i)
            keys[i] = rank_key(compute_score<typename decltype(kind)::Scalar>(constant, indices[i]));
    });
}

std::span<const std::uint32_t> find_excluded(const speft_score &score, std::uint64_t first, std::uint64_t count) {
    const std::span excluded(score.excluded, score.excluded_count);
    const auto begin = std::lower_bound(excluded.begin(), excluded.end(), first);
    const auto most = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(count, excluded.end() - begin));
    return {begin, std::lower_bound(begin, begin + most, first + count)};
}

}  // namespace speft::cpu
