// The two factors of a weight's gradient, by what they are to the weight.
#pragma once

#include <cstdint>
#include <utility>

#include "backends/cuda/kernels/scalars.h"
#include "speft/gradient.h"

namespace speft::cuda {

// x or dy, or some of its columns: [tokens, width] with `stride` elements from a token to the next.
struct GradientFactor {
    const void *values;
    std::int32_t type;
    std::uint64_t width;
    std::uint64_t stride;

    // From token `token` and column `column` on.
    SPEFT_HOST_DEVICE const void *at(std::uint64_t token, std::uint64_t column) const {
        return static_cast<const unsigned char *>(values) + (token * stride + column) * scalar_bytes(type);
    }
};

// The weight's rows come from one factor and its columns from the other.
struct GradientFactors {
    GradientFactor rows;
    GradientFactor columns;

    std::uint64_t size() const { return rows.width * columns.width; }
    bool are_bfloat16() const {
        return rows.type == SPEFT_SCALAR_BFLOAT16 && columns.type == SPEFT_SCALAR_BFLOAT16;
    }
    GradientFactors with_rows(std::uint64_t row, std::uint64_t count) const {
        return {{rows.at(0, row), rows.type, count, rows.stride}, columns};
    }
};

template <class Activations, class Weight>
GradientFactors make_factors(const Activations &activations, const Weight &weight) {
    GradientFactors factors = {{activations.dy, activations.dy_type, weight.out, weight.out},
                               {activations.x, activations.x_type, weight.in, weight.in}};
    if (weight.layout == SPEFT_LAYOUT_IN_OUT) std::swap(factors.rows, factors.columns);
    return factors;
}

constexpr std::uint64_t divide_up(std::uint64_t count, std::uint64_t divisor) {
    return (count + divisor - 1) / divisor;
}

constexpr std::uint64_t round_up(std::uint64_t count, std::uint64_t multiple) {
    return divide_up(count, multiple) * multiple;
}

}  // namespace speft::cuda
