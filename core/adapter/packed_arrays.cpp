#include "core/adapter/packed_arrays.h"

namespace speft {
namespace {

// Every array starts at an element's boundary whatever the types before it.
std::uint64_t padded(std::uint64_t bytes) { return (bytes + 3) / 4 * 4; }

}  // namespace

PackedArrays::PackedArrays(Device &device, const Masks &masks, std::vector<std::optional<ScalarType>> types)
    : types_(std::move(types)) {
    for (const Masks::Slot &slot : masks.slots) counts_.push_back(static_cast<std::uint64_t>(slot.count));
    std::uint64_t end = 0;
    for (std::size_t parameter = 0; parameter < types_.size(); ++parameter) {
        offsets_.push_back(end);
        end += padded(bytes(parameter));
    }
    buffer_ = Buffer<std::byte>(device, end);
}

}  // namespace speft
