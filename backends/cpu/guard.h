// The edge of the table: no exception crosses it, and the host's floating-point environment does not reach inside.
#pragma once

#include <cstdio>
#include <new>

#include "core/base/floating_point.h"
#include "core/base/status.h"
#include "speft/backend.h"

namespace speft::cpu {

inline speft_status fail(speft_backend_failure *failure, speft_status status, const char *message) noexcept {
    std::snprintf(failure->message, sizeof failure->message, "%s", message);
    return status;
}

template <class Body>
speft_status guarded(speft_backend_failure *failure, Body &&body) noexcept {
    const FloatingPointScope clean;
    try {
        body();
        return SPEFT_OK;
    } catch (const Failure &error) {
        failure->native_code = error.native_code();
        return fail(failure, error.status(), error.what());
    } catch (const std::bad_alloc &) {
        return fail(failure, SPEFT_OUT_OF_MEMORY, "the CPU backend has no memory for its scratch");
    } catch (const std::exception &error) {
        return fail(failure, SPEFT_INTERNAL, error.what());
    } catch (...) {
        return fail(failure, SPEFT_INTERNAL, "the CPU backend met an unknown exception");
    }
}

}  // namespace speft::cpu
