#include "core/optimizer/lazy_ages.h"

#include <algorithm>
#include <cstring>

namespace speft {

void LazyAges::start(Device &device, const Masks &masks) {
    if (!ages_) ages_ = Buffer<std::uint16_t>::zeros(device, masks.trained);
}

void LazyAges::copy(Device &device, const Masks &masks, std::size_t parameter, std::int64_t *ages) const {
    std::vector<std::uint16_t> narrow(static_cast<std::size_t>(masks.slots[parameter].count));
    if (ages_) device.copy_to_host(narrow.data(), of(masks, parameter), narrow.size() * sizeof(std::uint16_t));
    std::copy(narrow.begin(), narrow.end(), ages);
}

void LazyAges::list(std::vector<OptimizerState> &state) const {
    if (ages_) state.push_back({"ages", StateType::uint16, ages_.data(), ages_.count()});
}

void *LazyAges::allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count) {
    if (std::strcmp(name, "ages") != 0 || type != StateType::uint16 || count != masks.trained) return nullptr;
    start(device, masks);
    return ages_.data();
}

LazyAges LazyAges::moved(Device &device, const Move &move, const std::vector<Fate> &fates) const {
    LazyAges moved;
    if (!ages_) return moved;
    moved.start(device, move.after);
    for (std::size_t parameter = 0; parameter < fates.size(); ++parameter) {
        const auto count = static_cast<std::uint64_t>(move.after.slots[parameter].count);
        if (count == 0 || fates[parameter] == Fate::restarts) continue;
        std::uint16_t *const target = moved.of(move.after, parameter);
        const std::uint16_t *const source = of(move.before, parameter);
        if (fates[parameter] == Fate::stays)
            device.copy_within(target, source, count * sizeof(std::uint16_t));
        else
            device.run(speft_take{target, source, move.positions[parameter], count, sizeof(std::uint16_t)});
    }
    return moved;
}

}  // namespace speft
