// Rankings on a budget: of all targets together, or of each.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "core/backend/buffer.h"
#include "core/base/status.h"

namespace speft {

// What a ranking chose, in one array: that of the first target, of the second, …
struct Ranked {
    Buffer<std::uint32_t> indices;
    std::vector<std::uint64_t> counts;  // of each target

    const std::uint32_t *of(std::size_t target) const {
        return indices.data() + std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(target),
                                                std::uint64_t{0});
    }
};

// `budgets`: of each of the targets, or one of all together.
// run(first, count, k, indices, counts, &eligible) ranks the targets [first, first + count); refuse(part, eligible, k)
// is called, and throws, where fewer are eligible than part's budget.
template <class Run, class Refuse>
Ranked rank_on_budgets(Device &device, std::size_t targets, const std::vector<std::uint64_t> &budgets, Run &&run,
                       Refuse &&refuse) {
    Ranked ranked{{device, std::accumulate(budgets.begin(), budgets.end(), std::uint64_t{0})},
                  std::vector<std::uint64_t>(targets)};
    const std::size_t each = budgets.size() == targets ? 1 : targets;
    std::uint64_t offset = 0;
    for (std::size_t part = 0; part < budgets.size(); ++part) {
        if (budgets[part] == 0) continue;
        std::uint64_t eligible = 0;
        run(part, each, budgets[part], ranked.indices.data() + offset, ranked.counts.data() + part, &eligible);
        if (eligible < budgets[part]) refuse(part, eligible, budgets[part]);
        offset += budgets[part];
    }
    return ranked;
}

// A score of `count` scalars as most formulas want it: no rows and columns, a mean that is its sum.
inline speft_score score_of(std::int32_t formula, std::uint64_t count) {
    speft_score score{};
    score.formula = formula;
    score.count = count;
    score.total_weight = 1;
    score.rank = 1;
    score.columns = 1;
    return score;
}

// For rank_on_budgets: by these scores.
inline auto by_scores(Device &device, const std::vector<speft_score> &scores) {
    return [&](std::size_t first, std::size_t count, std::uint64_t k, std::uint32_t *positions, std::uint64_t *counts,
               std::uint64_t *eligible) {
        device.run(speft_select_top{scores.data() + first, count, k, positions, counts, eligible, nullptr});
    };
}

// Positions of the best of each target, in a reselection. `what` is what scores are of, for the error.
inline Ranked rank_scores(Device &device, const std::vector<speft_score> &scores,
                          const std::vector<std::uint64_t> &budgets, const char *what) {
    return rank_on_budgets(device, scores.size(), budgets, by_scores(device, scores),
                           [&](std::size_t, std::uint64_t eligible, std::uint64_t k) {
                               refuse("the reselection ranks " + std::string(what) + ", and only " +
                                      std::to_string(eligible) + " are not NaN; " + std::to_string(k) + " are wanted");
                           });
}

}  // namespace speft
