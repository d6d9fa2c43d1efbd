// What products of a dense factor with another have in common, whatever the other is.
#pragma once

#include "speft/backend.h"

namespace speft::cpu {

// target = base + scale · a·b, where b is [inner, columns]; base is what target holds where `accumulate`, else 0.
struct ProductFrame {
    const void *a;  // [rows, inner]
    void *target;   // [rows, columns]
    std::uint64_t rows, inner, columns;
    std::int32_t a_type, target_type;
    bool accumulate;
    float scale;
};

inline ProductFrame frame_of(const speft_multiply &m) {
    return {m.a, m.target, m.rows, m.inner, m.columns, m.a_type, m.target_type, m.accumulate != 0, m.scale};
}

inline ProductFrame frame_of(const speft_multiply_quantized &m) {
    const std::uint64_t inner = m.transposed ? m.b_columns : m.b_rows;
    const std::uint64_t columns = m.transposed ? m.b_rows : m.b_columns;
    return {m.a, m.target, m.rows, inner, columns, m.a_type, m.target_type, m.accumulate != 0, m.scale};
}

}  // namespace speft::cpu
