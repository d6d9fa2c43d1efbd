// From the number of an element type to the type, on the device: a block's threads all take the same way.
#pragma once

#include "core/base/scalar.h"
#include "speft/backend.h"

namespace speft::cuda {

// visitor(Scalar{}) for the type that `type` numbers; the core gives no other number. The host's code has visitors that
// only the host can call.
#ifdef __CUDACC__
#pragma nv_exec_check_disable
#endif
template <class Visitor>
SPEFT_HOST_DEVICE inline void visit_scalar(std::int32_t type, Visitor &&visitor) {
    if (type == SPEFT_SCALAR_FLOAT32)
        visitor(float{});
    else if (type == SPEFT_SCALAR_BFLOAT16)
        visitor(BFloat16{});
    else
        visitor(Float16{});
}

// The same on the host, to choose a kernel by the type: visitor(Scalar{}) may call what no device can.
template <class Visitor>
void choose_scalar(std::int32_t type, Visitor &&visitor) {
    if (type == SPEFT_SCALAR_FLOAT32)
        visitor(float{});
    else if (type == SPEFT_SCALAR_BFLOAT16)
        visitor(BFloat16{});
    else
        visitor(Float16{});
}

// Element `place` of an array of any type, as float32.
SPEFT_HOST_DEVICE inline float load(const void *values, std::int32_t type, std::uint64_t place) {
    if (type == SPEFT_SCALAR_FLOAT32) return static_cast<const float *>(values)[place];
    if (type == SPEFT_SCALAR_BFLOAT16) return to_float(static_cast<const BFloat16 *>(values)[place]);
    return to_float(static_cast<const Float16 *>(values)[place]);
}

SPEFT_HOST_DEVICE inline std::uint64_t scalar_bytes(std::int32_t type) { return type == SPEFT_SCALAR_FLOAT32 ? 4 : 2; }

}  // namespace speft::cuda
