// From the number of an element type to the type.
#pragma once

#include <string>

#include "core/base/scalar.h"
#include "core/base/status.h"
#include "speft/backend.h"

namespace speft::cpu {

// visitor(Scalar{}) for the type that `type` numbers.
template <class Visitor>
decltype(auto) visit_scalar(std::int32_t type, Visitor &&visitor) {
    switch (type) {
    case SPEFT_SCALAR_FLOAT32: return visitor(float{});
    case SPEFT_SCALAR_BFLOAT16: return visitor(BFloat16{});
    case SPEFT_SCALAR_FLOAT16: return visitor(Float16{});
    default: throw Failure(SPEFT_INTERNAL, "the CPU backend knows no scalar type " + std::to_string(type));
    }
}

}  // namespace speft::cpu
