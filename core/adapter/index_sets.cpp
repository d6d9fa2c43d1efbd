#include "core/adapter/index_sets.h"

namespace speft {
namespace {

OwnedList combine(Device &device, IndexList first, IndexList second, std::int32_t combination) {
    const bool both = combination == SPEFT_COMBINE_UNION;
    OwnedList list{{device, first.count + (both ? second.count : 0)}, 0};
    if (list.buffer.count() == 0) return list;
    speft_combine_indices arguments{};
    arguments.first = first.data;
    arguments.second = second.data;
    arguments.first_count = first.count;
    arguments.second_count = second.count;
    arguments.indices = list.buffer.data();
    arguments.count = &list.count;
    arguments.combination = combination;
    device.run(arguments);
    return list;
}

}  // namespace

OwnedList unite(Device &device, IndexList first, IndexList second) {
    return combine(device, first, second, SPEFT_COMBINE_UNION);
}

OwnedList subtract(Device &device, IndexList first, IndexList second) {
    return combine(device, first, second, SPEFT_COMBINE_DIFFERENCE);
}

Buffer<std::uint32_t> find_positions(Device &device, IndexList sorted, IndexList wanted) {
    Buffer<std::uint32_t> positions(device, wanted.count);
    if (wanted.count == 0) return positions;
    speft_find_indices find{};
    find.sorted = sorted.data;
    find.sorted_count = sorted.count;
    find.wanted = wanted.data;
    find.wanted_count = wanted.count;
    find.positions = positions.data();
    device.run(find);
    return positions;
}

void take(Device &device, void *target, const void *source, const std::uint32_t *positions, std::uint64_t count,
          std::uint64_t element_bytes) {
    if (count > 0) device.run(speft_take{target, source, positions, count, element_bytes});
}

OwnedList pick(Device &device, IndexList list, const std::uint32_t *positions, std::uint64_t count) {
    OwnedList picked{{device, count}, count};
    take(device, picked.buffer.data(), list.data, positions, count, sizeof(std::uint32_t));
    return picked;
}

Masks join(Device &device, const std::vector<Parameter> &parameters, const std::vector<OwnedList> &lists,
           DenseParameters dense) {
    std::vector<std::uint64_t> counts;
    std::uint64_t total = 0;
    for (const OwnedList &list : lists) {
        counts.push_back(list.count);
        total += list.count;
    }
    Buffer<std::uint32_t> indices(device, total);
    std::uint64_t offset = 0;
    for (const OwnedList &list : lists) {
        if (list.count == 0) continue;
        device.copy_within(indices.data() + offset, list.buffer.data(), list.count * sizeof(std::uint32_t));
        offset += list.count;
    }
    return make_masks(parameters, std::move(indices), counts, dense);
}

}  // namespace speft
