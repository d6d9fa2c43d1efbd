// How the inside reports failure: one exception type that carries a public status. It never crosses a library
// boundary; capi/src translates it, and backends translate their own.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "speft/status.h"

namespace speft {

class Failure : public std::runtime_error {
public:
    Failure(speft_status status, const std::string &message, std::string backend = {}, std::int64_t native_code = 0)
        : std::runtime_error(message), status_(status), backend_(std::move(backend)), native_code_(native_code) {}

    speft_status status() const noexcept { return status_; }
    const std::string &backend() const noexcept { return backend_; }
    std::int64_t native_code() const noexcept { return native_code_; }

private:
    speft_status status_;
    std::string backend_;
    std::int64_t native_code_;
};

[[noreturn]] inline void refuse(const std::string &message) { throw Failure(SPEFT_INVALID_ARGUMENT, message); }
[[noreturn]] inline void refuse_state(const std::string &message) { throw Failure(SPEFT_INVALID_STATE, message); }
[[noreturn]] inline void refuse_unsupported(const std::string &message) { throw Failure(SPEFT_UNSUPPORTED, message); }

}  // namespace speft
