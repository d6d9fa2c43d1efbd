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

// x or dy, or some of its columns: [tokens, width] with `stride` elements from a token to the next.
struct Factor {
    const void *values;
    std::int32_t type;
    std::uint64_t width;
    std::uint64_t stride;

    Window window(std::uint64_t token, std::uint64_t tokens, std::uint64_t column, std::uint64_t columns) const {
        return {at(token, column), type, stride, tokens, columns};
    }

    Factor part(std::uint64_t column, std::uint64_t columns) const { return {at(0, column), type, columns, stride}; }

private:
    const void *at(std::uint64_t token, std::uint64_t column) const {
        const std::uint64_t bytes = type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
        return static_cast<const unsigned char *>(values) + (token * stride + column) * bytes;
    }
};

// The weight's rows come from one factor and its columns from the other.
struct Product {
    Factor rows;
    Factor columns;

    template <class Activations, class Weight>
    Product(const Activations &activations, const Weight &weight)
        : rows{activations.dy, activations.dy_type, weight.out, weight.out},
          columns{activations.x, activations.x_type, weight.in, weight.in} {
        if (weight.layout == SPEFT_LAYOUT_IN_OUT) std::swap(rows, columns);
    }

    template <class Arguments>
    explicit Product(const Arguments &arguments) : Product(arguments, arguments) {}

    Product(const Factor &of_rows, const Factor &of_columns) : rows(of_rows), columns(of_columns) {}

    Product part(std::uint64_t row, std::uint64_t row_count, std::uint64_t column, std::uint64_t column_count) const {
        return {rows.part(row, row_count), columns.part(column, column_count)};
    }
};

}  // namespace speft::cpu
