// The scores of a run by core/base/score.h, in vectors: the same operations in the same order, none fused. Like
// score_filter_template.h this has internal linkage throughout and calls nothing that is shared.
#pragma once

#include "backends/cpu/selection/low_rank_panels.h"
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

    // √s of SCALED_WEIGHT, for the weights to be multiplied by.
    static void scales(const speft_score &score, std::uint64_t first, std::uint32_t count, float *scores) {
        for_each_row(score, first, count, scores,
                     [&](std::uint64_t row, std::uint64_t column, std::uint32_t taken, float *__restrict out) {
                         if (score.left) {
                             const float root = __builtin_sqrtf(score.left[row]);
                             for (std::uint32_t i = 0; i < taken; ++i) out[i] = root;
                         } else {
                             const float *const right = score.right + column;
                             for (std::uint32_t i = 0; i < taken; ++i) out[i] = __builtin_sqrtf(right[i]);
                         }
                     });
    }

    static void momentum(const speft_score &score, std::uint64_t first, std::uint32_t count, float *scores) {
        for_each_row(score, first, count, scores,
                     [&](std::uint64_t row, std::uint64_t column, std::uint32_t taken, float *__restrict out) {
                         const float root = __builtin_sqrtf(score.left[row]);
                         const float *const right = score.right + column;
                         for (std::uint32_t i = 0; i < taken; ++i) out[i] = root * __builtin_sqrtf(right[i]);
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

    template <class Weight>
    static void of_weights(const speft_score &score, std::uint64_t first, std::uint32_t count, float *scores) {
        const auto *const weights = static_cast<const Weight *>(score.weights) + first;
        const auto gradients = [sums = score.sums, first, divisor = Set::broadcast(score.total_weight)](
                                   std::uint32_t i) { return Set::load(sums + first + i) / divisor; };
        const auto differences = [weights, reference = static_cast<const Weight *>(score.reference), first](
                                     std::uint32_t i) { return Set::load(weights + i) - Set::load(reference + first + i); };
        switch (score.formula) {
        case SPEFT_SCORE_ABS_WEIGHT:
            return fill(count, scores, [=](std::uint32_t i) { return Set::magnitude(Set::load(weights + i)); });
        case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT:
            return fill(count, scores, [=](std::uint32_t i) { return -Set::magnitude(Set::load(weights + i)); });
        case SPEFT_SCORE_ABS_PRODUCT:
            return fill(count, scores,
                        [=](std::uint32_t i) { return Set::magnitude(gradients(i) * Set::load(weights + i)); });
        case SPEFT_SCORE_PRODUCT:
            return fill(count, scores, [=](std::uint32_t i) { return gradients(i) * Set::load(weights + i); });
        case SPEFT_SCORE_NEGATIVE_PRODUCT:
            return fill(count, scores, [=](std::uint32_t i) { return -(gradients(i) * Set::load(weights + i)); });
        case SPEFT_SCORE_ABS_DIFFERENCE:
            return fill(count, scores, [=](std::uint32_t i) { return Set::magnitude(differences(i)); });
        case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE:
            return fill(count, scores, [=](std::uint32_t i) { return -Set::magnitude(differences(i)); });
        case SPEFT_SCORE_SCALED_WEIGHT:
            scales(score, first, count, scores);
            return fill(count, scores, [=](std::uint32_t i) {
                return Set::magnitude(Set::load(weights + i)) * Set::load(scores + i);
            });
        }
    }

    static void scores(const speft_score &score, std::uint64_t first, std::uint32_t count, const float *panels,
                       float *scores) {
        const auto sums = [values = score.sums, first](std::uint32_t i) { return Set::load(values + first + i); };
        switch (score.formula) {
        case SPEFT_SCORE_GIVEN: return fill(count, scores, sums);
        case SPEFT_SCORE_ABS_GRADIENT:
            return fill(count, scores, [=, divisor = Set::broadcast(score.total_weight)](std::uint32_t i) {
                return Set::magnitude(sums(i) / divisor);
            });
        case SPEFT_SCORE_LOW_RANK: return low_rank(score, first, count, panels, scores);
        case SPEFT_SCORE_MOMENTUM: return momentum(score, first, count, scores);
        }
        switch (score.weights_type) {
        case SPEFT_SCALAR_BFLOAT16: return of_weights<typename Set::BFloat>(score, first, count, scores);
        case SPEFT_SCALAR_FLOAT16: return of_weights<typename Set::Half>(score, first, count, scores);
        default: return of_weights<float>(score, first, count, scores);
        }
    }
};

}  // namespace
}  // namespace speft::cpu
