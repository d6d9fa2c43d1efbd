#include "core/selection/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/status.h"

namespace speft {
namespace {

__extension__ typedef unsigned __int128 Wide;

std::uint64_t total_of(const std::vector<std::uint64_t> &sizes) {
    return std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
}

}  // namespace

std::uint64_t count_at_density(double density, std::uint64_t size) {
    if (size == 0) return 0;
    const double count = std::floor(density * static_cast<double>(size) + 1e-6);
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(count), 1, size);
}

std::uint64_t global_budget(const SelectionOptions &options, const std::vector<std::uint64_t> &sizes) {
    const std::uint64_t total = total_of(sizes);
    if (options.budget == 0) return count_at_density(options.density, total);
    const auto budget = static_cast<std::uint64_t>(options.budget);
    if (budget > total)
        refuse("selection options: budget must be at most " + std::to_string(total) +
               ", the scalars of the sparse parameters; got " + std::to_string(budget));
    return budget;
}

std::vector<std::uint64_t> per_tensor_budgets(const SelectionOptions &options,
                                              const std::vector<std::uint64_t> &sizes,
                                              const std::vector<const char *> &names) {
    std::vector<std::uint64_t> budgets;
    for (std::size_t index = 0; index < sizes.size(); ++index) {
        const auto budget = static_cast<std::uint64_t>(options.budget);
        if (options.budget != 0 && budget > sizes[index])
            refuse("selection options: budget must be at most " + std::to_string(sizes[index]) +
                   ", the scalars of parameter '" + names[index] + "'; got " + std::to_string(budget));
        budgets.push_back(options.budget != 0 ? budget : count_at_density(options.density, sizes[index]));
    }
    return budgets;
}

std::vector<std::uint64_t> share_out(std::uint64_t budget, const std::vector<std::uint64_t> &sizes) {
    const std::uint64_t total = total_of(sizes);
    std::vector<std::uint64_t> shares(sizes.size());
    if (total == 0) return shares;
    std::vector<std::uint64_t> remainders(sizes.size());
    std::uint64_t given = 0;
    for (std::size_t index = 0; index < sizes.size(); ++index) {
        const Wide exact = static_cast<Wide>(budget) * sizes[index];
        shares[index] = static_cast<std::uint64_t>(exact / total);
        remainders[index] = static_cast<std::uint64_t>(exact % total);
        given += shares[index];
    }
    std::vector<std::size_t> order(sizes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
    // The remainders sum to a multiple of the total, so those that get one more have a remainder above zero, and room.
    for (std::size_t index = 0; given < budget; ++index, ++given) ++shares[order[index]];
    return shares;
}

}  // namespace speft
