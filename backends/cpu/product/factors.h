// The two factors of a product, by what they are to the weight.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backends/cpu/product/kernels.h"
#include "speft/backend.h"
#include "speft/gradient.h"

namespace speft::cpu {

constexpr std::uint64_t divide_up(std::uint64_t count, std::uint64_t divisor) {
    return (count + divisor - 1) / divisor;
}

constexpr std::uint64_t round_up(std::uint64_t count, std::uint64_t multiple) {
    return divide_up(count, multiple) * multiple;
}

// x or dy: [tokens, width].
struct Factor {
    const void *values;
    std::int32_t type;
    std::uint64_t width;

    Window window(std::uint64_t token, std::uint64_t tokens, std::uint64_t column, std::uint64_t columns) const {
        const std::uint64_t bytes = type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
        return {static_cast<const unsigned char *>(values) + (token * width + column) * bytes, type, width, tokens,
                columns};
    }
};

// The weight's rows come from one factor and its columns from the other.
struct Product {
    Factor rows;
    Factor columns;

    explicit Product(const speft_add_product &arguments)
        : rows{arguments.dy, arguments.dy_type, arguments.out}, columns{arguments.x, arguments.x_type, arguments.in} {
        if (arguments.layout == SPEFT_LAYOUT_IN_OUT) std::swap(rows, columns);
    }
};

}  // namespace speft::cpu
