// The scores of a run by core/base/score.h, in vectors: the same operations in the same order, none fused. Like
// score_filter_template.h this has internal linkage throughout and calls nothing that is shared.
#pragma once

#include "backends/cpu/selection/right_factors.h"
#include "backends/cpu/selection/score_filter.h"

namespace speft::cpu {
namespace {

template <class Set>
struct ScoreVectorsTemplate {
    using Floats = typename Set::Floats;

    // score(i) gives the scores of the vector at i.
    template <class Score>
    static void fill(std::uint32_t count, float *scores, Score score) {
        for (std::uint32_t i = 0; i < count; i += Set::lanes) Set::store(scores + i, score(i));
    }

    // body(row, column, count, scores) for what the run has of each row.
    template <class Body>
    static void for_each_row(const speft_score &score, std::uint64_t first, std::uint32_t count, float *scores,
                             Body body) {
        std::uint64_t row = first / score.columns, column = first % score.columns;
        for (std::uint32_t done = 0; done < count; ++row, column = 0) {
            const std::uint64_t in_row = score.columns - column, left = count - done;
            const auto taken = static_cast<std::uint32_t>(in_row < left ? in_row : left);
            body(row, column, taken, scores + done);
            done += taken;
        }
    }

    // √s of SCALED_WEIGHT, for |θ| to be multiplied by.
    static void scales(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *roots,
                       float *scores) {
        for_each_row(score, first, count, scores,
                     [&](std::uint64_t row, std::uint64_t column, std::uint32_t taken, float *__restrict out) {
                         if (score.left) {
                             const float root = __builtin_sqrtf(score.left[row]);
                             for (std::uint32_t i = 0; i < taken; ++i) out[i] = root;
                         } else {
                             for (std::uint32_t i = 0; i < taken; ++i) out[i] = roots[column + i];
                         }
                     });
    }

    static void momentum(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *roots,
                         float *scores) {
        for_each_row(score, first, count, scores,
                     [&](std::uint64_t row, std::uint64_t column, std::uint32_t taken, float *__restrict out) {
                         const float root = __builtin_sqrtf(score.left[row]);
                         for (std::uint32_t i = 0; i < taken; ++i) out[i] = root * roots[column + i];
                     });
    }

    // One row's scores of a whole panel.
    static void multiply_panel(const float *left, const float *panel, std::uint32_t rank, float *scores) {
        constexpr std::uint32_t vectors = panel_columns / Set::lanes;
        Floats sums[vectors];
#pragma GCC unroll 8
        for (std::uint32_t v = 0; v < vectors; ++v) sums[v] = Set::broadcast(0.0f);
        for (std::uint32_t q = 0; q < rank; ++q, panel += panel_columns) {
            const Floats factor = Set::broadcast(left[q]);
#pragma GCC unroll 8
            for (std::uint32_t v = 0; v < vectors; ++v) sums[v] += factor * Set::load(panel + v * Set::lanes);
        }
#pragma GCC unroll 8
        for (std::uint32_t v = 0; v < vectors; ++v) Set::store(scores + v * Set::lanes, Set::magnitude(sums[v]));
    }

    static void low_rank(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *panels,
                         float *scores) {
        for_each_row(score, first, count, scores,
                     [&](std::uint64_t row, std::uint64_t column, std::uint32_t taken, float *out) {
                         const std::uint64_t end = column + taken;
                         while (column < end) {
                             const std::uint64_t begin = column / panel_columns * panel_columns;
                             const std::uint64_t panel_end = begin + panel_columns;
                             float products[panel_columns];
                             multiply_panel(score.left + row * score.rank, panels + begin * score.rank, score.rank,
                                            products);
                             for (; column < end && column < panel_end; ++column) *out++ = products[column - begin];
                         }
                     });
    }

    // consume(score) for a formula that looks at scalars alone: score(i) gives the scores of the vector at i.
    template <class Consume>
    static auto visit(const speft_score &score, std::uint64_t first, Consume consume) {
        const auto sums = [values = score.sums, first](std::uint32_t i) { return Set::load(values + first + i); };
        switch (score.formula) {
        case SPEFT_SCORE_GIVEN: return consume(sums);
        case SPEFT_SCORE_ABS_GRADIENT:
            return consume([=, divisor = Set::broadcast(score.total_weight)](std::uint32_t i) {
                return Set::magnitude(sums(i) / divisor);
            });
        }
        switch (score.weights_type) {
        case SPEFT_SCALAR_BFLOAT16: return visit_weights<typename Set::BFloat>(score, first, consume);
        case SPEFT_SCALAR_FLOAT16: return visit_weights<typename Set::Half>(score, first, consume);
        default: return visit_weights<float>(score, first, consume);
        }
    }

    template <class Weight, class Consume>
    static auto visit_weights(const speft_score &score, std::uint64_t first, Consume consume) {
        const auto load = [first](const void *values, std::uint32_t i) {
            return Set::load(static_cast<const Weight *>(values) + first + i);
        };
        const auto weights = [=, values = score.weights](std::uint32_t i) { return load(values, i); };
        const auto differences = [=, values = score.reference](std::uint32_t i) {
            return weights(i) - load(values, i);
        };
        const auto products = [=, sums = score.sums, divisor = Set::broadcast(score.total_weight)](std::uint32_t i) {
            return Set::load(sums + first + i) / divisor * weights(i);
        };
        switch (score.formula) {
        case SPEFT_SCORE_ABS_PRODUCT: return consume([=](std::uint32_t i) { return Set::magnitude(products(i)); });
        case SPEFT_SCORE_PRODUCT: return consume(products);
        case SPEFT_SCORE_NEGATIVE_PRODUCT: return consume([=](std::uint32_t i) { return -products(i); });
        case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT:
            return consume([=](std::uint32_t i) { return -Set::magnitude(weights(i)); });
        case SPEFT_SCORE_ABS_DIFFERENCE:
            return consume([=](std::uint32_t i) { return Set::magnitude(differences(i)); });
        case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE:
            return consume([=](std::uint32_t i) { return -Set::magnitude(differences(i)); });
        default: return consume([=](std::uint32_t i) { return Set::magnitude(weights(i)); });
        }
    }

    static void scores(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *right,
                       float *scores) {
        switch (score.formula) {
        case SPEFT_SCORE_LOW_RANK: return low_rank(score, first, count, right, scores);
        case SPEFT_SCORE_MOMENTUM: return momentum(score, first, count, right, scores);
        case SPEFT_SCORE_SCALED_WEIGHT: scales(score, first, count, right, scores);
        }
        visit(score, first, [&](auto vector_at) {
            if (score.formula == SPEFT_SCORE_SCALED_WEIGHT)
                fill(count, scores, [=](std::uint32_t i) { return vector_at(i) * Set::load(scores + i); });
            else
                fill(count, scores, vector_at);
        });
    }
};

}  // namespace
}  // namespace speft::cpu
