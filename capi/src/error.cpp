#include "speft/error.h"

#include <string>

#include "capi/src/guard.h"

struct speft_error {
    speft_status status;
    std::string message;
    std::string backend;
    std::int64_t native_code;
};

namespace speft {
namespace {

// The message fits the string's own storage, so that making it needs no memory.
speft_error out_of_memory{SPEFT_OUT_OF_MEMORY, "out of memory", "", 0};

// Names and paths of the host's may bring line breaks along.
std::string one_line(std::string message) {
    for (char &character : message)
        if (static_cast<unsigned char>(character) < 0x20) character = ' ';
    return message;
}

}  // namespace

speft_status report_failure(speft_error **error, const Failure &failure) noexcept {
    if (!error) return failure.status();
    try {
        *error = new speft_error{failure.status(), one_line(failure.what()), failure.backend(), failure.native_code()};
        return failure.status();
    } catch (...) {
        return report_out_of_memory(error);
    }
}

speft_status report_out_of_memory(speft_error **error) noexcept {
    if (error) *error = &out_of_memory;
    return SPEFT_OUT_OF_MEMORY;
}

speft_status report_internal(speft_error **error, const char *message) noexcept {
    try {
        return report_failure(error, Failure(SPEFT_INTERNAL, std::string("unexpected: ") + message));
    } catch (...) {
        return report_out_of_memory(error);
    }
}

}  // namespace speft

speft_status speft_get_error_status(const speft_error *error) { return error ? error->status : SPEFT_OK; }

const char *speft_get_error_message(const speft_error *error) { return error ? error->message.c_str() : ""; }

const char *speft_get_error_backend(const speft_error *error) { return error ? error->backend.c_str() : ""; }

int64_t speft_get_error_native_code(const speft_error *error) { return error ? error->native_code : 0; }

void speft_destroy_error(speft_error *error) {
    if (error != &speft::out_of_memory) delete error;
}
