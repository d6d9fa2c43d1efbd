// The edge of the library: every C function's body runs inside `guard`, which turns exceptions into a status and an
// owned error. Nothing else here catches.
#pragma once

#include <exception>
#include <new>

#include "core/base/status.h"
#include "speft/error.h"

namespace speft {

// Fills `*error` (unless NULL) and returns the status. Does not throw: without memory for the message it is the static
// out-of-memory error.
speft_status report_failure(speft_error **error, const Failure &failure) noexcept;
speft_status report_out_of_memory(speft_error **error) noexcept;
speft_status report_internal(speft_error **error, const char *message) noexcept;

template <class Body>
speft_status guard(speft_error **error, Body &&body) noexcept {
    if (error) *error = nullptr;
    try {
        body();
        return SPEFT_OK;
    } catch (const Failure &failure) {
        return report_failure(error, failure);
    } catch (const std::bad_alloc &) {
        return report_out_of_memory(error);
    } catch (const std::exception &exception) {
        return report_internal(error, exception.what());
    } catch (...) {
        return report_internal(error, "an exception without a message");
    }
}

}  // namespace speft
