// How long work tells its caller how far it is.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/base/status.h"
#include "speft/context.h"

namespace speft {

// Counts bytes, or whatever else the work consists of. The callback, which may be null, hears of none at first, and of
// all at last; when it asks to stop, Failure(SPEFT_CANCELLED).
class ProgressMeter {
public:
    // `work` is "reading", say, and `name` what is read.
    ProgressMeter(const speft_progress *progress, std::uint64_t total, const char *work, std::string name)
        : progress_(progress), total_(total), work_(work), name_(std::move(name)) {
        report();
    }

    void advance(std::uint64_t amount) {
        done_ += amount;
        report();
    }

private:
    void report() const {
        if (!progress_) return;
        if (progress_->report(progress_->user, static_cast<std::int64_t>(done_), static_cast<std::int64_t>(total_)))
            throw Failure(SPEFT_CANCELLED,
                          std::string(work_) + " " + name_ + " was cancelled by its progress callback");
    }

    const speft_progress *progress_;
    std::uint64_t done_ = 0;
    std::uint64_t total_;
    const char *work_;
    std::string name_;
};

}  // namespace speft
