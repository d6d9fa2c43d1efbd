// The edge of the table: no exception crosses it, and the caller's current device is its current device afterwards. Nor
// does the host's floating-point environment reach inside: some tables are computed on the host.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <new>

#include "core/base/floating_point.h"
#include "core/base/status.h"
#include "speft/backend.h"

namespace speft::cuda {

// While it lives, `ordinal` is this thread's current device.
class CurrentDevice {
public:
    explicit CurrentDevice(int ordinal) : changed_(cudaGetDevice(&before_) == cudaSuccess && before_ != ordinal) {
        error_ = changed_ ? cudaSetDevice(ordinal) : cudaSuccess;
    }
    ~CurrentDevice() {
        if (changed_) cudaSetDevice(before_);
    }
    CurrentDevice(const CurrentDevice &) = delete;
    CurrentDevice &operator=(const CurrentDevice &) = delete;

    cudaError_t error() const { return error_; }

private:
    int before_ = 0;
    bool changed_;
    cudaError_t error_;
};

inline speft_status fail(speft_backend_failure *failure, speft_status status, const char *message) noexcept {
    std::snprintf(failure->message, sizeof failure->message, "%s", message);
    return status;
}

template <class Body>
speft_status guarded(int ordinal, speft_backend_failure *failure, Body &&body) noexcept {
    const FloatingPointScope clean;
    try {
        const CurrentDevice current(ordinal);
        if (current.error() != cudaSuccess)
            throw Failure(SPEFT_DEVICE,
                          "cannot use CUDA device " + std::to_string(ordinal) + ": " + cudaGetErrorString(current.error()),
                          {}, current.error());
        body();
        return SPEFT_OK;
    } catch (const Failure &error) {
        failure->native_code = error.native_code();
        return fail(failure, error.status(), error.what());
    } catch (const std::bad_alloc &) {
        return fail(failure, SPEFT_OUT_OF_MEMORY, "the CUDA backend has no host memory for its tables");
    } catch (const std::exception &error) {
        return fail(failure, SPEFT_INTERNAL, error.what());
    } catch (...) {
        return fail(failure, SPEFT_INTERNAL, "the CUDA backend met an unknown exception");
    }
}

}  // namespace speft::cuda
