// How old single scalars are, where masks have moved. Scalars of a parameter that came at the same of its updates are a
// cohort; a scalar's age is the parameter's number of updates less its cohort's birth. Nothing is kept as long as all
// scalars are as old as their parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/optimizer/optimizer.h"

namespace speft {

class Ages {
public:
    static constexpr std::size_t most_cohorts = 65536;

    explicit Ages(std::size_t parameters) : births_(parameters, std::vector<std::int32_t>{0}) {}

    // As a step takes them: NULL where all scalars are as old as their parameters.
    const std::uint16_t *cohorts(const Masks &masks, std::size_t parameter) const {
        return cohorts_ ? cohorts_.data() + masks.slots[parameter].offset : nullptr;
    }
    const std::int32_t *births(std::size_t parameter) const {
        return table_ ? table_.data() + parameter * width() : nullptr;
    }
    // No scalar of the parameter is older after so many updates of it.
    std::uint32_t oldest(std::size_t parameter, std::uint32_t updates) const;
    // Of each scalar, into host memory.
    void copy(Device &device, const Masks &masks, std::size_t parameter, std::uint32_t updates,
              std::int64_t *ages) const;

    // For Optimizer::state and allocate_state.
    void list(std::vector<OptimizerState> &state) const;
    void *allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count);
    // After a checkpoint has filled them: throws CORRUPT unless they are the ages of scalars.
    void check(Device &device, const Masks &masks, const std::vector<std::uint32_t> &updates);

    // New scalars have age 0. `updates`: each parameter's after the move. Cohorts that nobody is in any more are gone.
    Ages moved(Device &device, const Move &move, const std::vector<Fate> &fates,
               const std::vector<std::uint32_t> &updates) const;
    // Gives the scalars that have a position this age.
    void set(Device &device, const Masks &masks, std::size_t parameter, const std::uint32_t *positions,
             std::uint32_t updates, std::uint32_t age);

private:
    std::uint64_t width() const { return table_.count() / births_.size(); }
    std::vector<std::uint16_t> read_cohorts(Device &device, const Masks &masks, std::size_t parameter) const;
    std::uint16_t add(std::size_t parameter, std::int32_t birth);
    std::uint16_t find_or_add(std::size_t parameter, std::int32_t birth);
    bool any_cohorts() const;
    void upload_births(Device &device);

    std::vector<std::vector<std::int32_t>> births_;  // of each parameter, by cohort
    Buffer<std::uint16_t> cohorts_;                  // [trained]
    Buffer<std::int32_t> table_;                     // births_ as rows of the longest one's length, 0 beyond
};

}  // namespace speft
