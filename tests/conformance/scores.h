// Tensors of scores: what each formula of backend.h reads, and the score of a scalar by it, each operation rounded for
// itself.
#pragma once

#include <algorithm>
#include <memory>

#include "tests/conformance/values.h"

namespace conformance {

// A formula over weights of one type.
struct ScoreKind {
    std::int32_t formula;
    std::int32_t type;

    bool needs_gradients() const {
        return formula == SPEFT_SCORE_ABS_GRADIENT || formula == SPEFT_SCORE_ABS_PRODUCT ||
               formula == SPEFT_SCORE_PRODUCT || formula == SPEFT_SCORE_NEGATIVE_PRODUCT;
    }
    bool needs_sums() const { return needs_gradients() || formula == SPEFT_SCORE_GIVEN; }
    bool needs_reference() const {
        return formula == SPEFT_SCORE_ABS_DIFFERENCE || formula == SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE;
    }
    bool needs_factors() const {
        return formula == SPEFT_SCORE_SCALED_WEIGHT || formula == SPEFT_SCORE_LOW_RANK ||
               formula == SPEFT_SCORE_MOMENTUM;
    }
    bool needs_weights() const {
        return formula != SPEFT_SCORE_ABS_GRADIENT && formula != SPEFT_SCORE_GIVEN &&
               formula != SPEFT_SCORE_LOW_RANK && formula != SPEFT_SCORE_MOMENTUM;
    }

    friend std::ostream &operator<<(std::ostream &out, const ScoreKind &kind) {
        return out << "formula " << kind.formula << " of type " << kind.type;
    }
};

constexpr std::int32_t formula_count = SPEFT_SCORE_MOMENTUM + 1;

// Each formula once, their types by turns.
inline std::vector<ScoreKind> make_some_score_kinds() {
    std::vector<ScoreKind> kinds;
    for (std::int32_t formula = 0; formula < formula_count; ++formula) kinds.push_back({formula, formula % 3});
    return kinds;
}

// Each formula with each type that makes a difference to it.
inline std::vector<ScoreKind> make_all_score_kinds() {
    std::vector<ScoreKind> kinds;
    for (const ScoreKind kind : make_some_score_kinds())
        for (const std::int32_t type : scalar_types)
            if (kind.needs_weights() || type == kind.type) kinds.push_back({kind.formula, type});
    return kinds;
}

inline const std::vector<ScoreKind> some_score_kinds = make_some_score_kinds();
inline const std::vector<ScoreKind> all_score_kinds = make_all_score_kinds();

// One tensor with all that any formula reads.
struct ScoredTensor {
    ScoreKind kind;
    float total_weight;
    Tensor weights;
    Tensor reference;
    std::vector<float> sums;
    std::uint64_t columns;
    std::uint32_t rank;
    std::vector<float> left;  // may be empty where the formula is SCALED_WEIGHT
    std::vector<float> right;
    std::vector<std::uint32_t> excluded{};

    std::uint64_t size() const { return sums.size(); }

    // NaN where it is excluded, which ranks alike.
    float score(std::uint64_t i) const {
        if (std::binary_search(excluded.begin(), excluded.end(), i)) return std::numeric_limits<float>::quiet_NaN();
        const float weight = weights.get(i), gradient = rounded(sums[i] / total_weight);
        const float difference = rounded(weight - reference.get(i));
        const std::uint64_t row = i / columns, column = i % columns;
        switch (kind.formula) {
        case SPEFT_SCORE_ABS_WEIGHT: return std::fabs(weight);
        case SPEFT_SCORE_ABS_GRADIENT: return std::fabs(gradient);
        case SPEFT_SCORE_ABS_PRODUCT: return std::fabs(rounded(gradient * weight));
        case SPEFT_SCORE_GIVEN: return sums[i];
        case SPEFT_SCORE_PRODUCT: return rounded(gradient * weight);
        case SPEFT_SCORE_NEGATIVE_PRODUCT: return -rounded(gradient * weight);
        case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT: return -std::fabs(weight);
        case SPEFT_SCORE_ABS_DIFFERENCE: return std::fabs(difference);
        case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE: return -std::fabs(difference);
        case SPEFT_SCORE_SCALED_WEIGHT:
            return rounded(std::fabs(weight) * rounded(std::sqrt(left.empty() ? right[column] : left[row])));
        case SPEFT_SCORE_MOMENTUM:
            return rounded(rounded(std::sqrt(left[row])) * rounded(std::sqrt(right[column])));
        default: {
            float sum = 0;
            for (std::uint32_t q = 0; q < rank; ++q)
                sum = rounded(sum + rounded(left[row * rank + q] * right[column * rank + q]));
            return std::fabs(sum);
        }
        }
    }
};

// Columns of a matrix of `size` scalars: the most up to 300 that divide it, or else all of it in one row.
inline std::uint64_t choose_columns(std::uint64_t size) {
    std::uint64_t columns = std::min<std::uint64_t>(size, 300);
    while (columns > 1 && size % columns != 0) --columns;
    return columns > 1 ? columns : std::max<std::uint64_t>(size, 1);
}

// Every other tensor of SCALED_WEIGHT is scaled by its columns.
inline ScoredTensor make_scored_tensor(ScoreKind kind, std::uint64_t size, Values values, std::uint32_t seed,
                                       std::uint64_t columns, float total_weight = 3.0f) {
    const std::uint32_t rank = kind.formula == SPEFT_SCORE_LOW_RANK ? 5 : 1;
    const bool by_columns = kind.formula == SPEFT_SCORE_SCALED_WEIGHT && seed % 2;
    ScoredTensor tensor = {.kind = kind,
                           .total_weight = total_weight,
                           .weights = Tensor(kind.type, make_values(size, values, 2 * seed)),
                           .reference = Tensor(kind.type, make_values(size, values, 2 * seed + 50001)),
                           .sums = make_values(size, values, 2 * seed + 1),
                           .columns = columns,
                           .rank = rank,
                           .left = make_values(by_columns ? 0 : size / columns * rank, values, 2 * seed + 60001),
                           .right = make_values(columns * rank, values, 2 * seed + 70001)};
    if (values == Values::special || kind.formula == SPEFT_SCORE_LOW_RANK) return tensor;
    // A root needs what is not negative.
    for (float &value : tensor.left) value = std::fabs(value);
    for (float &value : tensor.right) value = std::fabs(value);
    return tensor;
}

inline ScoredTensor make_scored_tensor(ScoreKind kind, std::uint64_t size, Values values, std::uint32_t seed) {
    return make_scored_tensor(kind, size, values, seed, choose_columns(size));
}

// A tensor on a device. What its formula does not read is NULL or 0.
class PlacedTensor {
public:
    PlacedTensor(Device &device, const ScoredTensor &tensor)
        : weights_(device, tensor.weights), reference_(device, tensor.reference), sums_(device, tensor.sums),
          left_(device, tensor.left), right_(device, tensor.right), excluded_(device, tensor.excluded) {
        const ScoreKind kind = tensor.kind;
        score = {.weights = kind.needs_weights() ? weights_.data() : nullptr,
                 .sums = kind.needs_sums() ? sums_.data() : nullptr,
                 .count = tensor.size(),
                 .weights_type = kind.type,
                 .formula = kind.formula,
                 .total_weight = kind.needs_gradients() ? tensor.total_weight : 0.0f,
                 .rank = kind.needs_factors() ? tensor.rank : 0,
                 .reference = kind.needs_reference() ? reference_.data() : nullptr,
                 .left = kind.needs_factors() && !tensor.left.empty() ? left_.data() : nullptr,
                 .right = kind.needs_factors() ? right_.data() : nullptr,
                 .columns = kind.needs_factors() ? tensor.columns : 0,
                 .excluded = tensor.excluded.empty() ? nullptr : excluded_.data(),
                 .excluded_count = tensor.excluded.size()};
    }
    PlacedTensor(const PlacedTensor &) = delete;
    PlacedTensor &operator=(const PlacedTensor &) = delete;

    speft_score score;

private:
    DeviceTensor weights_;
    DeviceTensor reference_;
    DeviceArray<float> sums_;
    DeviceArray<float> left_;
    DeviceArray<float> right_;
    DeviceArray<std::uint32_t> excluded_;
};

}  // namespace conformance
