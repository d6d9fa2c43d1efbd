// A stack of its own that runs until it hands control back, and goes on from there.
#pragma once

#include <cstddef>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulation {

class Fiber {
public:
    // Each time it is resumed after `body` has returned, `body` begins anew.
    explicit Fiber(void (*body)());
    ~Fiber();
    Fiber(const Fiber &) = delete;
    Fiber &operator=(const Fiber &) = delete;

    void resume();  // by the scheduler; comes back when the fiber suspends
    void suspend();  // by the fiber itself

private:
    static void begin();

#ifdef __x86_64__
    using Context = void *;  // its stack pointer, under which its registers are
#else
    using Context = ucontext_t;
#endif

    void (*body_)();
    unsigned char *memory_;
    Context own_, scheduler_;
    // For the address sanitizer.
    void *own_frames_ = nullptr, *scheduler_frames_ = nullptr;
    const void *scheduler_stack_ = nullptr;
    std::size_t scheduler_bytes_ = 0;
};

}  // namespace emulation
