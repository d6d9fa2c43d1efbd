#include "core/optimizer/ages.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/base/status.h"

namespace speft {
namespace {

constexpr std::uint32_t no_position = std::numeric_limits<std::uint32_t>::max();

std::vector<std::uint32_t> read_positions(Device &device, const std::uint32_t *positions, std::size_t count) {
    std::vector<std::uint32_t> host(count);
    device.copy_to_host(host.data(), positions, count * sizeof(std::uint32_t));
    return host;
}

std::size_t count_of(const Masks &masks, std::size_t parameter) {
    return static_cast<std::size_t>(masks.slots[parameter].count);
}

}  // namespace

std::uint32_t Ages::oldest(std::size_t parameter, std::uint32_t updates) const {
    const std::vector<std::int32_t> &births = births_[parameter];
    if (births.empty()) return 0;
    return updates - static_cast<std::uint32_t>(*std::min_element(births.begin(), births.end()));
}

std::vector<std::uint16_t> Ages::read_cohorts(Device &device, const Masks &masks, std::size_t parameter) const {
    std::vector<std::uint16_t> cohorts(count_of(masks, parameter));
    if (cohorts_)
        device.copy_to_host(cohorts.data(), this->cohorts(masks, parameter), cohorts.size() * sizeof(std::uint16_t));
    return cohorts;
}

void Ages::copy(Device &device, const Masks &masks, std::size_t parameter, std::uint32_t updates,
                std::int64_t *ages) const {
    for (const std::uint16_t cohort : read_cohorts(device, masks, parameter))
        *ages++ = std::int64_t{updates} - births_[parameter][cohort];
}

void Ages::list(std::vector<OptimizerState> &state) const {
    if (cohorts_) state.push_back({"cohorts", StateType::uint16, cohorts_.data(), cohorts_.count()});
    if (table_) state.push_back({"births", StateType::int32, table_.data(), table_.count()});
}

void *Ages::allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count) {
    if (std::strcmp(name, "cohorts") == 0 && type == StateType::uint16 && count == masks.trained)
        return (cohorts_ = Buffer<std::uint16_t>::zeros(device, count)).data();
    if (std::strcmp(name, "births") == 0 && type == StateType::int32 && count > 0 && count % births_.size() == 0 &&
        count / births_.size() <= most_cohorts)
        return (table_ = Buffer<std::int32_t>::zeros(device, count)).data();
    return nullptr;
}

void Ages::check(Device &device, const Masks &masks, const std::vector<std::uint32_t> &updates) {
    if (!cohorts_ && !table_) return;
    if (!cohorts_ || !table_)
        throw Failure(SPEFT_CORRUPT, "the checkpoint has only one of the states \"cohorts\" and \"births\"");
    for (std::size_t parameter = 0; parameter < births_.size(); ++parameter) {
        std::vector<std::int32_t> &births = births_[parameter];
        births.resize(static_cast<std::size_t>(width()));
        device.copy_to_host(births.data(), this->births(parameter), births.size() * sizeof(std::int32_t));
        for (const std::uint16_t cohort : read_cohorts(device, masks, parameter)) {
            if (cohort >= births.size())
                throw Failure(SPEFT_CORRUPT, "the checkpoint's \"cohorts\" must be below " +
                                                 std::to_string(births.size()) + "; got " + std::to_string(cohort));
            if (births[cohort] > static_cast<std::int64_t>(updates[parameter]))
                throw Failure(SPEFT_CORRUPT, "the checkpoint's \"births\" must not be above the parameter's " +
                                                 std::to_string(updates[parameter]) + " updates; got " +
                                                 std::to_string(births[cohort]));
        }
    }
}

std::uint16_t Ages::add(std::size_t parameter, std::int32_t birth) {
    std::vector<std::int32_t> &births = births_[parameter];
    if (births.size() == most_cohorts)
        refuse_state("the selected scalars of one parameter have come at " + std::to_string(most_cohorts) +
                     " different updates: no more can be told apart");
    births.push_back(birth);
    return static_cast<std::uint16_t>(births.size() - 1);
}

std::uint16_t Ages::find_or_add(std::size_t parameter, std::int32_t birth) {
    const std::vector<std::int32_t> &births = births_[parameter];
    const auto known = std::find(births.begin(), births.end(), birth);
    return known == births.end() ? add(parameter, birth) : static_cast<std::uint16_t>(known - births.begin());
}

bool Ages::any_cohorts() const {
    return std::any_of(births_.begin(), births_.end(), [](const std::vector<std::int32_t> &births) {
        return std::any_of(births.begin(), births.end(), [](std::int32_t birth) { return birth != 0; });
    });
}

void Ages::upload_births(Device &device) {
    std::size_t longest = 1;
    for (const std::vector<std::int32_t> &births : births_) longest = std::max(longest, births.size());
    std::vector<std::int32_t> rows(longest * births_.size());
    for (std::size_t parameter = 0; parameter < births_.size(); ++parameter)
        std::copy(births_[parameter].begin(), births_[parameter].end(), rows.data() + parameter * longest);
    Buffer<std::int32_t> table(device, rows.size());
    device.copy_to_device(table.data(), rows.data(), rows.size() * sizeof(std::int32_t));
    table_ = std::move(table);
}

Ages Ages::moved(Device &device, const Move &move, const std::vector<Fate> &fates,
                 const std::vector<std::uint32_t> &updates) const {
    Ages moved(births_.size());
    std::vector<std::uint16_t> cohorts(static_cast<std::size_t>(move.after.trained));
    for (std::size_t parameter = 0; parameter < births_.size(); ++parameter) {
        const std::size_t count = count_of(move.after, parameter);
        if (count == 0 || fates[parameter] == Fate::restarts) continue;
        const std::vector<std::uint16_t> before = read_cohorts(device, move.before, parameter);
        std::vector<std::uint32_t> positions;
        if (fates[parameter] == Fate::moves)
            positions = read_positions(device, move.positions[parameter], count);

        moved.births_[parameter].clear();
        const auto born_now = static_cast<std::int32_t>(updates[parameter]);
        constexpr std::uint32_t not_numbered = no_position;
        std::vector<std::uint32_t> numbers(births_[parameter].size(), not_numbered);  // by cohort before
        std::uint32_t newborn = not_numbered;
        std::uint16_t *const target = cohorts.data() + move.after.slots[parameter].offset;
        for (std::size_t j = 0; j < count; ++j) {
            const std::uint32_t position = positions.empty() ? static_cast<std::uint32_t>(j) : positions[j];
            std::uint32_t &number = position == no_position ? newborn : numbers[before[position]];
            if (number == not_numbered)
                number = position == no_position ? moved.find_or_add(parameter, born_now)
                                                 : moved.add(parameter, births_[parameter][before[position]]);
            target[j] = static_cast<std::uint16_t>(number);
        }
    }
    if (!moved.any_cohorts()) return Ages(births_.size());
    moved.cohorts_ = Buffer<std::uint16_t>(device, cohorts.size());
    device.copy_to_device(moved.cohorts_.data(), cohorts.data(), cohorts.size() * sizeof(std::uint16_t));
    moved.upload_births(device);
    return moved;
}

void Ages::set(Device &device, const Masks &masks, std::size_t parameter, const std::uint32_t *positions,
               std::uint32_t updates, std::uint32_t age) {
    std::vector<std::uint16_t> cohorts = read_cohorts(device, masks, parameter);
    const std::uint16_t number = find_or_add(parameter, static_cast<std::int32_t>(updates - age));
    const std::vector<std::uint32_t> given = read_positions(device, positions, cohorts.size());
    for (std::size_t j = 0; j < cohorts.size(); ++j)
        if (given[j] != no_position) cohorts[j] = number;
    if (!cohorts_) cohorts_ = Buffer<std::uint16_t>::zeros(device, masks.trained);
    device.copy_to_device(cohorts_.data() + masks.slots[parameter].offset, cohorts.data(),
                          cohorts.size() * sizeof(std::uint16_t));
    upload_births(device);
}

}  // namespace speft
