// What the host gave a context to call: copied, and released once, when nothing calls it any more.
#pragma once

#include <optional>

#include "speft/context.h"

namespace speft {

class HostCallbacks {
public:
    HostCallbacks(const speft_allocator *allocator, const speft_logger *logger, const speft_parallel_for *parallel_for)
        : allocator_(copy(allocator)), logger_(copy(logger)), parallel_for_(copy(parallel_for)) {}
    ~HostCallbacks() {
        if (!owned_) return;
        release(parallel_for_);
        release(logger_);
        release(allocator_);
    }
    HostCallbacks(const HostCallbacks &) = delete;
    HostCallbacks &operator=(const HostCallbacks &) = delete;

    // From here on the end of this object releases them; before, they stay the host's.
    void own() { owned_ = true; }

    const speft_allocator *allocator() const { return allocator_ ? &*allocator_ : nullptr; }
    const speft_logger *logger() const { return logger_ ? &*logger_ : nullptr; }
    const speft_parallel_for *parallel_for() const { return parallel_for_ ? &*parallel_for_ : nullptr; }

private:
    template <class Callback>
    static std::optional<Callback> copy(const Callback *given) {
        return given ? std::optional<Callback>(*given) : std::nullopt;
    }
    template <class Callback>
    static void release(const std::optional<Callback> &given) {
        if (given && given->release) given->release(given->user);
    }

    std::optional<speft_allocator> allocator_;
    std::optional<speft_logger> logger_;
    std::optional<speft_parallel_for> parallel_for_;
    bool owned_ = false;
};

}  // namespace speft
