// How long work tells its caller how far it is.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/status.h"
#include "speft/context.h"

namespace speft {

// `progress` may be null. Throws Failure(SPEFT_CANCELLED) when the callback asks to stop.
inline void report_progress(const speft_progress *progress, std::uint64_t done, std::uint64_t total,
                            const char *work, const std::string &path) {
    if (!progress) return;
    if (progress->report(progress->user, static_cast<std::int64_t>(done), static_cast<std::int64_t>(total)) != 0)
        throw Failure(SPEFT_CANCELLED, std::string(work) + " '" + path + "' was cancelled by its progress callback");
}

}  // namespace speft
