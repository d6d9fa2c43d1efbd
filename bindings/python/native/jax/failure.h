// Failures of libspeft inside a program of XLA: thrown here, returned by a handler. XLA passes on a code and a text, so
// the text carries what `speft.jax` makes an exception of.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "speft/speft.h"
#include "xla/ffi/api/ffi.h"

namespace speft::jax {

class Failure : public std::exception {
public:
    Failure(speft_status status, const std::string &message, const std::string &backend = "", int64_t native_code = 0)
        : status_(status), text_(std::string("libspeft ") + speft_get_status_name(status)) {
        if (!backend.empty() || native_code != 0) text_ += " [" + backend + " " + std::to_string(native_code) + "]";
        text_ += ": " + message;
    }

    const char *what() const noexcept override { return text_.c_str(); }

    xla::ffi::Error to_xla() const {
        using Code = xla::ffi::ErrorCode;
        switch (status_) {
        case SPEFT_INVALID_ARGUMENT: return {Code::kInvalidArgument, text_};
        case SPEFT_OUT_OF_MEMORY: return {Code::kResourceExhausted, text_};
        case SPEFT_UNSUPPORTED: return {Code::kUnimplemented, text_};
        case SPEFT_UNAVAILABLE: return {Code::kUnavailable, text_};
        case SPEFT_INVALID_STATE: return {Code::kFailedPrecondition, text_};
        case SPEFT_BUSY: return {Code::kAborted, text_};
        case SPEFT_CANCELLED: return {Code::kCancelled, text_};
        default: return {Code::kInternal, text_};
        }
    }

private:
    speft_status status_;
    std::string text_;
};

// Runs one call of libspeft, whose last argument is its error.
template <class Call>
void check(Call call) {
    speft_error *error = nullptr;
    const speft_status status = call(&error);
    if (status == SPEFT_OK) return;
    Failure failure(status, speft_get_error_message(error), speft_get_error_backend(error),
                    speft_get_error_native_code(error));
    speft_destroy_error(error);
    throw failure;
}

// A handler's body: no exception leaves it.
template <class Body>
xla::ffi::Error guard(Body body) {
    try {
        body();
        return xla::ffi::Error::Success();
    } catch (const Failure &failure) {
        return failure.to_xla();
    } catch (const std::bad_alloc &) {
        return Failure(SPEFT_OUT_OF_MEMORY, "there is not enough memory on the host").to_xla();
    }
}

} // namespace speft::jax
