#include "core/selection/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "core/base/status.h"
#include "core/selection/method_name.h"
#include "speft/selection.h"

namespace speft {
namespace {

__extension__ typedef __int128 Wide;

constexpr std::int64_t default_period = 20, default_window = 5;
constexpr double default_rate = 0.2;

// A rate is what the host wrote in decimals, 0.2 say, which no double is: the nearest fraction with this denominator
// is meant, so that 20% of 350 are 70 and not 69.
constexpr std::int64_t rate_denominator = 1'000'000'000;

void check_not_negative(std::int64_t value, const char *field) {
    if (value < 0)
        refuse(std::string("schedule options: ") + field + " must be 0 or more; got " + std::to_string(value));
}

void check_spiel(const Schedule &given, const Schedule &schedule) {
    if (!(given.rate == 0 || (given.rate > 0 && given.rate <= 1)))
        refuse("schedule options: rate must be in (0, 1]; got " + std::to_string(given.rate));
    if (schedule.window > schedule.reselect_every)
        refuse("schedule options: window must be at most reselect_every, " + std::to_string(schedule.reselect_every) +
               "; got " + std::to_string(schedule.window));
    if (schedule.total_steps > 0 && schedule.window > schedule.total_steps)
        refuse("schedule options: window must be at most total_steps, " + std::to_string(schedule.total_steps) +
               "; got " + std::to_string(schedule.window));
    if ((schedule.kind == SPEFT_SCHEDULE_LINEAR || schedule.kind == SPEFT_SCHEDULE_COSINE) && schedule.total_steps == 0)
        refuse("schedule options: a linear or cosine schedule falls to 0 at total_steps, which must be 1 or more; "
               "got 0");
    if (given.settled_limit != 0 || given.keep_moments)
        refuse("schedule options: settled_limit and keep_moments are of dynamic masks, and SpIEL's are not: leave them "
               "at 0");
}

void check_by_step(std::int32_t method, const Schedule &given) {
    const std::string name = get_method_name(method);
    if (given.kind != SPEFT_SCHEDULE_DEFAULT && given.kind != SPEFT_SCHEDULE_NONE)
        refuse("schedule options: " + name + " selects at each step (SPEFT_SCHEDULE_DEFAULT) or once "
               "(SPEFT_SCHEDULE_NONE); got " + std::to_string(given.kind));
    if (given.reselect_every > (given.kind == SPEFT_SCHEDULE_DEFAULT ? 1 : 0))
        refuse("schedule options: " + name + " selects at each step, or once with SPEFT_SCHEDULE_NONE: reselect_every "
               "must be 0; got " + std::to_string(given.reselect_every));
    if (given.window != 0 || given.rate != 0 || given.candidates != 0 || given.drop != 0 || given.keep_moments)
        refuse("schedule options: window, rate, candidates, drop and keep_moments are of other methods; leave them at "
               "0 for " + name);
    if (given.kind == SPEFT_SCHEDULE_NONE && (given.settled_limit != 0 || given.track_moves))
        refuse("schedule options: settled_limit and track_moves are of masks that move, and with SPEFT_SCHEDULE_NONE "
               "they stay");
}

void check_dynamic(std::int32_t method, const Schedule &given) {
    if (given.kind != 0 || given.window != 0 || given.rate != 0 || given.candidates != 0 || given.drop != 0)
        refuse(std::string("schedule options: schedule, window, rate, candidates and drop are SpIEL's; leave them at 0 "
                           "for ") + get_method_name(method));
    const bool fixed = method == SPEFT_SELECT_GIVEN_MASK || method == SPEFT_SELECT_GIVEN_SCORES ||
                       method == SPEFT_SELECT_WEIGHT_CHANGE;
    if (given.reselect_every > 0 && fixed)
        refuse(std::string("schedule options: masks of ") + get_method_name(method) +
               " stay where they are; reselect_every must be 0; got " + std::to_string(given.reselect_every));
    if (given.reselect_every == 0 && (given.keep_moments || given.settled_limit != 0 || given.track_moves))
        refuse("schedule options: keep_moments, settled_limit and track_moves are of masks that move, and "
               "reselect_every is 0");
}

}  // namespace

bool is_by_step(std::int32_t method) {
    return method == SPEFT_SELECT_SPARSEGRAD || method == SPEFT_SELECT_MEPROP;
}

bool is_spiel(std::int32_t method) { return method == SPEFT_SELECT_SPIEL_AG || method == SPEFT_SELECT_SPIEL_MA; }

Schedule complete_schedule(std::int32_t method, Schedule schedule) {
    if (is_by_step(method)) schedule.reselect_every = 0;  // that is no period, but by each step's gradient
    if (!is_spiel(method)) return schedule;
    if (schedule.kind == SPEFT_SCHEDULE_DEFAULT)
        schedule.kind = schedule.total_steps > 0 ? SPEFT_SCHEDULE_LINEAR : SPEFT_SCHEDULE_CONSTANT;
    if (schedule.reselect_every == 0)
        schedule.reselect_every =
            schedule.total_steps > 0 ? std::min(default_period, schedule.total_steps) : default_period;
    if (schedule.window == 0) schedule.window = std::min(default_window, schedule.reselect_every);
    if (schedule.rate == 0) schedule.rate = default_rate;
    return schedule;
}

void check_schedule(std::int32_t method, const Schedule &given) {
    if (given.kind < SPEFT_SCHEDULE_DEFAULT || given.kind > SPEFT_SCHEDULE_NONE)
        refuse("schedule options: schedule must be one of SPEFT_SCHEDULE_…; got " + std::to_string(given.kind));
    if (given.drop != SPEFT_DROP_MAGNITUDE && given.drop != SPEFT_DROP_CHANGE)
        refuse("schedule options: drop must be SPEFT_DROP_MAGNITUDE or SPEFT_DROP_CHANGE; got " +
               std::to_string(given.drop));
    check_not_negative(given.total_steps, "total_steps");
    check_not_negative(given.reselect_every, "reselect_every");
    check_not_negative(given.window, "window");
    check_not_negative(given.candidates, "candidates");
    check_not_negative(given.settled_limit, "settled_limit");
    if (is_by_step(method))
        check_by_step(method, given);
    else if (is_spiel(method))
        check_spiel(given, complete_schedule(method, given));
    else
        check_dynamic(method, given);
    if (given.total_steps > 0 && given.reselect_every > given.total_steps)
        refuse("schedule options: reselect_every must be at most total_steps, " + std::to_string(given.total_steps) +
               "; got " + std::to_string(given.reselect_every));
}

bool Clock::due(std::int64_t step) const { return step > 0 && next_due(step) == step; }

std::int64_t Clock::next_due(std::int64_t step) const {
    if (!moves()) return 0;
    const std::int64_t period = schedule_.reselect_every, first = spiel_ ? schedule_.window : period;
    const std::int64_t past = std::max<std::int64_t>(step - first, 0);
    const std::int64_t next = first + (past + period - 1) / period * period;
    if (schedule_.total_steps > 0 && next >= schedule_.total_steps) return 0;
    if (spiel_ && schedule_.kind == SPEFT_SCHEDULE_NONE && next > first) return 0;
    return next;
}

std::uint64_t Clock::replaced(std::uint64_t selected, std::int64_t step) const {
    if (step == schedule_.window) return selected;
    const auto k = static_cast<Wide>(selected);
    const auto rate = static_cast<std::int64_t>(std::llround(schedule_.rate * static_cast<double>(rate_denominator)));
    switch (schedule_.kind) {
    case SPEFT_SCHEDULE_LINEAR:  // ⌊⌊a/b⌋/c⌋ = ⌊a/(b·c)⌋
        return static_cast<std::uint64_t>(k * rate * (schedule_.total_steps - step) / rate_denominator /
                                          schedule_.total_steps);
    case SPEFT_SCHEDULE_COSINE: {
        const double angle = std::numbers::pi * static_cast<double>(step) / static_cast<double>(schedule_.total_steps);
        return static_cast<std::uint64_t>(static_cast<double>(selected) * schedule_.rate / 2 * (1 + std::cos(angle)));
    }
    case SPEFT_SCHEDULE_CONSTANT: return static_cast<std::uint64_t>(k * rate / rate_denominator);
    default: return 0;
    }
}

}  // namespace speft
