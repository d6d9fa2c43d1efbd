// How many scalars a shape has, when the shape may be hostile.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace speft {

// Nothing when a size is negative or the product does not fit. A size of 0 makes it 0, however large the others are.
inline std::optional<std::uint64_t> count_scalars(std::span<const std::int64_t> shape) {
    bool empty = false, fits = true;
    std::uint64_t count = 1;
    for (const std::int64_t size : shape) {
        if (size < 0) return std::nullopt;
        const auto factor = static_cast<std::uint64_t>(size);
        if (factor == 0)
            empty = true;
        else if (count > std::numeric_limits<std::uint64_t>::max() / factor)
            fits = false;
        else
            count *= factor;
    }
    if (empty) return 0;
    return fits ? std::optional(count) : std::nullopt;
}

}  // namespace speft
