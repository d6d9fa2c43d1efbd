// Which backends this release knows, and what became of each: loaded once a process, on first use.
#pragma once

#include <cstdint>
#include <string>

#include "speft/backend.h"

namespace speft {

inline constexpr const char *backend_names[] = {"cpu", "cuda"};
inline constexpr std::int32_t backend_count = 2;

struct BackendState {
    const char *name = nullptr;
    const speft_backend_table *table = nullptr;  // set when a context can be created on it
    const char *version = "";
    const char *reason = "";  // set when none can; static storage
};

// Loads it on the first call. A `folder` that is not empty is searched first; a backend that is loaded already stays
// the one. Any thread.
BackendState describe_backend(std::int32_t index, const std::string &folder);

// The named backend, or for "auto" the one with the highest score, looked for alike. Throws UNAVAILABLE with every
// folder that was searched and the reason of every attempt.
const speft_backend_table &choose_backend(const std::string &name, const std::string &folder);

}  // namespace speft
