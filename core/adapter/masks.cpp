#include "core/adapter/masks.h"

namespace speft {

Masks make_masks(const std::vector<Parameter> &parameters, Buffer<std::uint32_t> indices,
                 const std::vector<std::uint64_t> &counts, DenseParameters dense) {
    Masks masks;
    masks.indices = std::move(indices);
    for (std::size_t index = 0; index < parameters.size(); ++index) {
        Masks::Slot slot;
        slot.offset = masks.trained;
        if (parameters[index].role == Role::dense) {
            slot.count = dense == DenseParameters::all ? static_cast<std::int64_t>(parameters[index].size) : 0;
        } else {
            slot.count = static_cast<std::int64_t>(counts[index]);
            if (slot.count > 0) slot.indices = masks.indices.data() + masks.selected;
            masks.selected += counts[index];
        }
        masks.trained += static_cast<std::uint64_t>(slot.count);
        masks.slots.push_back(slot);
    }
    return masks;
}

}  // namespace speft
