#include "backends/cpu/reference/score_keys.h"

#include "backends/cpu/scalar_types.h"
#include "core/base/score.h"

namespace speft::cpu {
namespace {

// Scores of one formula and one element type.
template <std::int32_t constant_formula, class ScalarType>
struct Kind {
    static constexpr std::int32_t formula = constant_formula;
    using Scalar = ScalarType;
};

// visitor(Kind<…>{}) for the formula and the type of a tensor's scores.
template <class Visitor>
void visit_kind(const speft_score &score, Visitor &&visitor) {
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT:
        return visit_scalar(score.weights_type,
                            [&](auto scalar) { visitor(Kind<SPEFT_SCORE_ABS_WEIGHT, decltype(scalar)>{}); });
    case SPEFT_SCORE_ABS_PRODUCT:
        return visit_scalar(score.weights_type,
                            [&](auto scalar) { visitor(Kind<SPEFT_SCORE_ABS_PRODUCT, decltype(scalar)>{}); });
    case SPEFT_SCORE_ABS_GRADIENT: return visitor(Kind<SPEFT_SCORE_ABS_GRADIENT, float>{});
    case SPEFT_SCORE_GIVEN: return visitor(Kind<SPEFT_SCORE_GIVEN, float>{});
    default:
        throw Failure(SPEFT_INTERNAL, "the CPU backend knows no score formula " + std::to_string(score.formula));
    }
}

// The formula is a constant here, which takes its switch out of the loop.
template <class Kind, class IndexOf>
void compute_keys_at(Kind, speft_score score, std::uint64_t count, IndexOf &&index_of, std::uint32_t *keys) {
    score.formula = Kind::formula;
    for (std::uint64_t i = 0; i < count; ++i)
        keys[i] = rank_key(compute_score<typename Kind::Scalar>(score, index_of(i)));
}

}  // namespace

void compute_keys(const speft_score &score, std::uint64_t first, std::uint64_t count, std::uint32_t *keys) {
    visit_kind(score, [&](auto kind) {
        compute_keys_at(kind, score, count, [&](std::uint64_t i) { return first + i; }, keys);
    });
}

void compute_keys(const speft_score &score, std::span<const std::uint32_t> indices, std::uint32_t *keys) {
    visit_kind(score, [&](auto kind) {
        compute_keys_at(kind, score, indices.size(), [&](std::uint64_t i) { return indices[i]; }, keys);
    });
}

}  // namespace speft::cpu
