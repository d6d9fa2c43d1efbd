// The element type of a host tensor as a value, where scalar.h has it as a C++ type.
#pragma once

#include <cstdint>

#include "speft/backend.h"
#include "speft/tensor.h"

namespace speft {

enum class ScalarType : std::int32_t {
    float32 = SPEFT_SCALAR_FLOAT32,
    bfloat16 = SPEFT_SCALAR_BFLOAT16,
    float16 = SPEFT_SCALAR_FLOAT16,
};

inline std::uint64_t size_of(ScalarType type) { return type == ScalarType::float32 ? 4 : 2; }

inline speft_dtype dtype_of(ScalarType type) {
    switch (type) {
    case ScalarType::bfloat16: return {SPEFT_CODE_BFLOAT, 16, 1};
    case ScalarType::float16: return {SPEFT_CODE_FLOAT, 16, 1};
    default: return {SPEFT_CODE_FLOAT, 32, 1};
    }
}

}  // namespace speft
