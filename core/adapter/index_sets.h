// Strictly increasing lists of indices on the device, and values that move between them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/masks.h"
#include "core/backend/buffer.h"

namespace speft {

struct IndexList {
    const std::uint32_t *data = nullptr;
    std::uint64_t count = 0;
};

// Of a parameter with a mask.
inline IndexList list_of(const Masks::Slot &slot) { return {slot.indices, static_cast<std::uint64_t>(slot.count)}; }

// A list with its memory, which may have room for more.
struct OwnedList {
    Buffer<std::uint32_t> buffer;
    std::uint64_t count = 0;

    IndexList view() const { return {buffer.data(), count}; }
};

OwnedList unite(Device &device, IndexList first, IndexList second);
// Those of the first that are not in the second.
OwnedList subtract(Device &device, IndexList first, IndexList second);

// Where each of `wanted` is in `sorted`, or UINT32_MAX: [wanted.count].
Buffer<std::uint32_t> find_positions(Device &device, IndexList sorted, IndexList wanted);

// target[j] = source[positions[j]] for each j of [0, count) whose position is not UINT32_MAX.
void take(Device &device, void *target, const void *source, const std::uint32_t *positions, std::uint64_t count,
          std::uint64_t element_bytes);
// The indices of `list` at these positions.
OwnedList pick(Device &device, IndexList list, const std::uint32_t *positions, std::uint64_t count);

// One list a parameter (of a dense one none) as masks.
Masks join(Device &device, const std::vector<Parameter> &parameters, const std::vector<OwnedList> &lists,
           DenseParameters dense);

}  // namespace speft
