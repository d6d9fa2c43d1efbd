#include "tests/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {
namespace {

constexpr std::size_t page_bytes = 4096, stack_bytes = 256 << 10;

Fiber *starting;  // launches are one at a time

#ifdef __x86_64__
// Keeps what a function has to keep on the stack that is left; the environment of floating point is everybody's.
extern "C" __attribute__((visibility("hidden"))) void speft_emulation_switch(void **left, void *entered);
asm(R"(
    .pushsection .text
    .type speft_emulation_switch, @function
    .hidden speft_emulation_switch
    .globl speft_emulation_switch
speft_emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size speft_emulation_switch, . - speft_emulation_switch
    .popsection
)");

void change(void *&left, void *&entered) { speft_emulation_switch(&left, entered); }

void prepare(void *&context, unsigned char *stack, void (*begin)()) {
    constexpr std::size_t registers = 6;
    auto *top = reinterpret_cast<std::uint64_t *>(stack + stack_bytes);
    *--top = 0;  // whom `begin` would return to
    *--top = reinterpret_cast<std::uint64_t>(begin);
    for (std::size_t i = 0; i < registers; ++i) *--top = 0;
    context = top;
}
#else
void change(ucontext_t &left, ucontext_t &entered) { swapcontext(&left, &entered); }

void prepare(ucontext_t &context, unsigned char *stack, void (*begin)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_bytes;
    context.uc_link = nullptr;
    makecontext(&context, begin, 0);
}
#endif

}  // namespace

// Under the stack is a page that nobody may touch.
Fiber::Fiber(void (*body)()) : body_(body) {
    void *const memory = mmap(nullptr, page_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, page_bytes, PROT_NONE);
    memory_ = static_cast<unsigned char *>(memory);
    prepare(own_, memory_ + page_bytes, begin);
}

Fiber::~Fiber() { munmap(memory_, page_bytes + stack_bytes); }

void Fiber::begin() {
    Fiber &self = *starting;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &self.scheduler_stack_, &self.scheduler_bytes_);
#endif
    for (;;) {
        self.body_();
        self.suspend();
    }
}

void Fiber::resume() {
    starting = this;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&scheduler_frames_, memory_ + page_bytes, stack_bytes);
#endif
    change(scheduler_, own_);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(scheduler_frames_, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&own_frames_, scheduler_stack_, scheduler_bytes_);
#endif
    change(own_, scheduler_);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(own_frames_, &scheduler_stack_, &scheduler_bytes_);
#endif
}

}  // namespace emulation
