// One array a parameter, of as many elements as it has trained scalars and of a type of its own, in one buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/adapter/masks.h"
#include "core/base/scalar_type.h"

namespace speft {

class PackedArrays {
public:
    PackedArrays() = default;
    // Not initialized. `types`: one a parameter; of one without a type there is no array.
    PackedArrays(Device &device, const Masks &masks, std::vector<std::optional<ScalarType>> types);

    std::byte *data(std::size_t parameter) const { return buffer_.data() + offsets_[parameter]; }
    // Without the padding after it.
    std::uint64_t bytes(std::size_t parameter) const {
        return types_[parameter] ? counts_[parameter] * size_of(*types_[parameter]) : 0;
    }
    ScalarType type(std::size_t parameter) const { return *types_[parameter]; }

    // All of them, as they lie.
    std::byte *data() const { return buffer_.data(); }
    std::uint64_t bytes() const { return buffer_.count(); }
    std::uint64_t offset(std::size_t parameter) const { return offsets_[parameter]; }

private:
    std::vector<std::optional<ScalarType>> types_;
    std::vector<std::uint64_t> counts_;
    std::vector<std::uint64_t> offsets_;  // in bytes
    Buffer<std::byte> buffer_;
};

}  // namespace speft
