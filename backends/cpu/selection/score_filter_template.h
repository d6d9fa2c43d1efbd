// The loops of score_filter.h for any instruction set. Each compiles this with options of its own, so everything here
// has internal linkage and calls nothing that is shared: the linker must never take an AVX-512 copy of a function for
// all.
#pragma once

#include "backends/cpu/selection/score_filter.h"
#include "backends/cpu/selection/score_vectors_template.h"

namespace speft::cpu {
namespace {

// `Set` names the instructions: vectors of `lanes` floats and the masks that comparing them gives.
template <class Set>
struct ScoreFilterTemplate {
    using Floats = typename Set::Floats;

    // A bit for each scalar of a step.
    struct Masks {
        std::uint32_t hits = 0;
        std::uint32_t nans = 0;
    };

    // test(first) gives the masks of the step at `first`.
    template <class Test>
    static Filtered filter(std::uint32_t count, Offsets &offsets, Test test) {
        Filtered found;
        for (std::uint32_t first = 0; first < count; first += run_step) {
            const Masks masks = test(first);
            found.nans += static_cast<std::uint32_t>(__builtin_popcount(masks.nans));
            Set::write_offsets(masks.hits, first, offsets + found.count);
            found.count += static_cast<std::uint32_t>(__builtin_popcount(masks.hits));
        }
        return found;
    }

    // score(i) gives the scores of the vector at i.
    template <class Score>
    static Filtered filter_scores(std::uint32_t count, float lowest, Offsets &offsets, Score score) {
        const Floats bound = Set::broadcast(lowest);
        return filter(count, offsets, [=](std::uint32_t first) {
            Masks masks;
#pragma GCC unroll 4
            for (std::uint32_t lane = 0; lane < run_step; lane += Set::lanes) {
                const Floats scores = score(first + lane);
                masks.hits |= Set::at_least(scores, bound) << lane;
                masks.nans |= Set::not_numbers(scores) << lane;
            }
            return masks;
        });
    }

    static Filtered magnitudes16(const std::uint16_t *values, std::uint32_t count, std::uint16_t lowest,
                                 std::uint16_t infinity, Offsets &offsets) {
        const auto bound = Set::broadcast16(lowest), limit = Set::broadcast16(infinity);
        return filter(count, offsets, [=](std::uint32_t first) {
            const auto step = Set::load_magnitudes16(values + first);
            const std::uint32_t nans = Set::above16(step, limit);
            return Masks{~Set::above16(bound, step) & ~nans, nans};
        });
    }

    static Filtered magnitudes(const float *values, std::uint32_t count, float lowest, Offsets &offsets) {
        return filter_scores(count, lowest, offsets,
                             [=](std::uint32_t i) { return Set::magnitude(Set::load(values + i)); });
    }

    static Filtered values(const float *values, std::uint32_t count, float lowest, Offsets &offsets) {
        return filter_scores(count, lowest, offsets, [=](std::uint32_t i) { return Set::load(values + i); });
    }

    static Filtered formula(const speft_score &score, std::uint64_t first, std::uint32_t count, float lowest,
                            Offsets &offsets) {
        return ScoreVectorsTemplate<Set>::visit(score, first, [&](auto vector_at) {
            return filter_scores(count, lowest, offsets, vector_at);
        });
    }

    static constexpr ScoreFilter filters = {
        .magnitudes16 = magnitudes16,
        .magnitudes = magnitudes,
        .values = values,
        .formula = formula,
        .scores = ScoreVectorsTemplate<Set>::scores,
    };
};

}  // namespace
}  // namespace speft::cpu
