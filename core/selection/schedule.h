// When masks move while training, and how far: the clock of selection.h.
#pragma once

#include <cstdint>

namespace speft {

// As the host gave it; what is 0 has a default, or is off.
struct Schedule {
    std::int32_t kind = 0;  // SPEFT_SCHEDULE_…
    std::int64_t total_steps = 0;
    std::int64_t reselect_every = 0;
    std::int64_t window = 0;
    double rate = 0;
    std::int64_t candidates = 0;
    std::int32_t drop = 0;  // SPEFT_DROP_…
    bool keep_moments = false;
    std::int64_t settled_limit = 0;
    bool track_moves = false;

    bool operator==(const Schedule &) const = default;
};

bool is_spiel(std::int32_t method);

// SparseGrad and MeProp, which select each step's scalars by its own gradient unless their schedule is none.
bool is_by_step(std::int32_t method);

// With the defaults of `method` filled in.
Schedule complete_schedule(std::int32_t method, Schedule schedule);

// Throws INVALID_ARGUMENT for a schedule, not completed yet, that `method` cannot have.
void check_schedule(std::int32_t method, const Schedule &schedule);

// The clock of a completed schedule.
class Clock {
public:
    Clock(std::int32_t method, const Schedule &schedule) : spiel_(is_spiel(method)), schedule_(schedule) {}

    // Whether masks move at all.
    bool moves() const { return schedule_.reselect_every > 0; }
    // Whether a reselection comes after step `step`.
    bool due(std::int64_t step) const;
    // The first step at or after `step` after which one comes; 0: none.
    std::int64_t next_due(std::int64_t step) const;
    // The first step of the window of the reselection after step `due`.
    std::int64_t window_start(std::int64_t due) const { return due - schedule_.window + 1; }
    // How many of `selected` scalars SpIEL replaces after step `step`.
    std::uint64_t replaced(std::uint64_t selected, std::int64_t step) const;

private:
    bool spiel_;
    Schedule schedule_;
};

}  // namespace speft
