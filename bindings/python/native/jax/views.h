// XLA's buffers as libspeft sees them. XLA gives handlers row-major memory.
#pragma once

#include <string>

#include "failure.h"
#include "speft/speft.h"
#include "xla/ffi/api/ffi.h"

namespace speft::jax {

inline speft_dtype dtype_of(const char *argument, const xla::ffi::AnyBuffer &buffer) {
    switch (buffer.element_type()) {
    case xla::ffi::F32: return {SPEFT_CODE_FLOAT, 32, 1};
    case xla::ffi::BF16: return {SPEFT_CODE_BFLOAT, 16, 1};
    case xla::ffi::F16: return {SPEFT_CODE_FLOAT, 16, 1};
    default:
        throw Failure(SPEFT_INVALID_ARGUMENT, std::string(argument) + " must be float32, bfloat16 or float16");
    }
}

// The view's shape is the buffer's own.
inline speft_tensor view_of(const char *argument, const xla::ffi::AnyBuffer &buffer) {
    const auto shape = buffer.dimensions();
    return {buffer.untyped_data(),
            {SPEFT_DEVICE_CPU, 0},
            static_cast<int32_t>(shape.size()),
            dtype_of(argument, buffer),
            const_cast<int64_t *>(shape.begin()),
            nullptr,
            0};
}

} // namespace speft::jax
