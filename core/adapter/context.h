// A context: a device, its turn-taking and its log.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/adapter/host_callbacks.h"
#include "core/backend/device.h"
#include "speft/context.h"

namespace speft {

struct ContextOptions {
    std::string backend = "auto";
    std::string backend_path;
    std::int32_t threads = 0;
    std::int32_t device = 0;
    void *stream = nullptr;
    const speft_allocator *allocator = nullptr;
    const speft_logger *logger = nullptr;
    const speft_parallel_for *parallel_for = nullptr;
};

class Context {
public:
    explicit Context(const ContextOptions &options);

    Device &device() { return device_; }
    void log(std::int32_t level, const std::string &message) const;

private:
    friend class Turn;

    HostCallbacks callbacks_;  // outlives the device, which calls them
    std::atomic<bool> busy_{false};
    Device device_;
};

// A context does one thing at a time. It is a try-lock and not a mutex: a callback that calls back in, or a second
// thread, is told so at once, whichever thread it is on.
class Turn {
public:
    explicit Turn(Context &context);
    ~Turn() { context_.busy_.store(false, std::memory_order_release); }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;

private:
    Context &context_;
};

}  // namespace speft
