// Tasks 0 … count − 1, to be taken by any number of threads until none is left.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

#include "core/base/floating_point.h"

namespace speft::cpu {

class Job {
public:
    using Body = void (*)(void *argument, std::int64_t index);

    Job(std::int64_t count, Body body, void *argument) : count_(count), body_(body), argument_(argument) {}

    // Takes tasks until there are no more. The first exception ends the job for all threads.
    void work() noexcept {
        const FloatingPointScope clean;
        for (;;) {
            const std::int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= count_) return;
            try {
                body_(argument_, index);
            } catch (...) {
                if (!failed_.exchange(true)) error_ = std::current_exception();
                next_.store(count_, std::memory_order_relaxed);
            }
        }
    }

    // Once all threads have left `work`.
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

private:
    const std::int64_t count_;
    const Body body_;
    void *const argument_;
    std::atomic<std::int64_t> next_{0};
    std::atomic<bool> failed_{false};
    std::exception_ptr error_;
};

}  // namespace speft::cpu
