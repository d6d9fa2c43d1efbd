#include "core/selection/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/status.h"

namespace speft {
namespace {

__extension__ typedef unsigned __int128 Wide;

void require_room(const char *what, std::uint64_t budget, std::uint64_t size, const std::string &whose) {
    if (budget > size)
        refuse(std::string("selection options: ") + what + " must be at most " + std::to_string(size) + ", " + whose +
               "; got " + std::to_string(budget));
}

void require_rows(const Target &target, const char *what) {
    if (target.rows == 0 && target.size > 0)
        refuse(std::string("selection options: ") + what + " needs parameters of 2 axes or more, and '" +
               target.name + "' has fewer");
}

// As many scalars as the two factors of a low-rank update have.
std::uint64_t count_at_rank(std::int64_t rank, const Target &target) {
    require_rows(target, "rank");
    const Wide count = static_cast<Wide>(rank) * (target.rows + target.columns());
    if (count > target.size)
        refuse("selection options: rank " + std::to_string(rank) + " stands for more scalars than the " +
               std::to_string(target.size) + " of parameter '" + target.name + "'");
    return static_cast<std::uint64_t>(count);
}

}  // namespace

std::vector<Target> find_targets(const std::vector<Parameter> &parameters) {
    std::vector<Target> targets;
    for (std::size_t position = 0; position < parameters.size(); ++position) {
        const Parameter &parameter = parameters[position];
        if (parameter.role != Role::sparse) continue;
        const std::uint64_t rows = parameter.shape.size() < 2 ? 0 : static_cast<std::uint64_t>(parameter.shape[0]);
        targets.push_back({position, parameter.name, parameter.size, rows});
    }
    return targets;
}

std::uint64_t total_size(const std::vector<Target> &targets) {
    return std::accumulate(targets.begin(), targets.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const Target &target) { return sum + target.size; });
}

std::uint64_t count_at_density(double density, std::uint64_t size) {
    if (size == 0) return 0;
    const double count = std::floor(density * static_cast<double>(size) + 1e-6);
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(count), 1, size);
}

double density_of_targets(const SelectionOptions &options, const std::vector<Target> &targets) {
    if (options.model_scalars == 0) return options.density;
    const double total = static_cast<double>(total_size(targets));
    const double wanted = options.density * static_cast<double>(options.model_scalars);
    if (std::floor(wanted + 1e-6) > total)
        refuse("selection options: density " + std::to_string(options.density) + " of model_scalars " +
               std::to_string(options.model_scalars) + " is more than the " + std::to_string(total_size(targets)) +
               " scalars of the sparse parameters");
    return std::min(wanted / total, 1.0);
}

std::uint64_t global_budget(const SelectionOptions &options, const std::vector<Target> &targets) {
    const std::uint64_t total = total_size(targets);
    if (options.rank != 0) {
        std::uint64_t budget = 0;
        for (const Target &target : targets) budget += count_at_rank(options.rank, target);
        return budget;
    }
    if (options.budget == 0) return count_at_density(density_of_targets(options, targets), total);
    const auto budget = static_cast<std::uint64_t>(options.budget);
    require_room("budget", budget, total, "the scalars of the sparse parameters");
    return budget;
}

std::vector<std::uint64_t> tensor_budgets(const SelectionOptions &options, const std::vector<Target> &targets) {
    std::vector<std::uint64_t> budgets;
    for (const Target &target : targets) {
        if (options.rank != 0) {
            budgets.push_back(count_at_rank(options.rank, target));
        } else if (options.budget != 0) {
            const auto budget = static_cast<std::uint64_t>(options.budget);
            require_room("budget", budget, target.size, "the scalars of parameter '" + target.name + "'");
            budgets.push_back(budget);
        } else {
            budgets.push_back(count_at_density(density_of_targets(options, targets), target.size));
        }
    }
    return budgets;
}

std::vector<std::uint64_t> row_budgets(const SelectionOptions &options, const std::vector<Target> &targets) {
    std::vector<std::uint64_t> budgets;
    for (const Target &target : targets) {
        require_rows(target, "a scope per row");
        if (options.budget != 0) {
            const auto budget = static_cast<std::uint64_t>(options.budget);
            const std::string whose = "the length of a row of parameter '" + target.name + "'";
            if (target.size > 0) require_room("budget", budget, target.columns(), whose);
            budgets.push_back(budget);
        } else {
            budgets.push_back(count_at_density(density_of_targets(options, targets), target.columns()));
        }
    }
    return budgets;
}

std::vector<std::uint64_t> part_budgets(const SelectionOptions &options, const std::vector<Target> &targets) {
    return options.scope == SPEFT_SCOPE_PER_ROW ? row_budgets(options, targets) : tensor_budgets(options, targets);
}

std::uint64_t total_budget(const SelectionOptions &options, const std::vector<Target> &targets) {
    if (options.scope == SPEFT_SCOPE_GLOBAL) return global_budget(options, targets);
    const std::vector<std::uint64_t> budgets = part_budgets(options, targets);
    std::uint64_t total = 0;
    for (std::size_t index = 0; index < targets.size(); ++index) {
        const std::uint64_t parts = options.scope == SPEFT_SCOPE_PER_ROW ? targets[index].rows : 1;
        if (targets[index].size > 0) total += budgets[index] * parts;
    }
    return total;
}

std::vector<std::uint64_t> share_out(std::uint64_t budget, const std::vector<Target> &targets) {
    const std::uint64_t total = total_size(targets);
    std::vector<std::uint64_t> shares(targets.size());
    if (total == 0) return shares;
    std::vector<std::uint64_t> remainders(targets.size());
    std::uint64_t given = 0;
    for (std::size_t index = 0; index < targets.size(); ++index) {
        const Wide exact = static_cast<Wide>(budget) * targets[index].size;
        shares[index] = static_cast<std::uint64_t>(exact / total);
        remainders[index] = static_cast<std::uint64_t>(exact % total);
        given += shares[index];
    }
    std::vector<std::size_t> order(targets.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
    // The remainders sum to a multiple of the total, so those that get one more have a remainder above zero, and room.
    for (std::size_t index = 0; given < budget; ++index, ++given) ++shares[order[index]];
    return shares;
}

}  // namespace speft
