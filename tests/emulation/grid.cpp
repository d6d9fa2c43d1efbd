// A grid on one CPU: block after block, each block's threads as fibers that change at barriers and collectives.
#include <dlfcn.h>

#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "tests/emulation/arena.h"
#include "tests/emulation/device.h"
#include "tests/emulation/fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulation {
namespace {

enum class State { ready, at_barrier, at_collective, returned };

struct Thread {
    State state;
    uint3 index;
    Fiber *fiber;  // once it has begun
    Where where;  // it waits
    const char *collective;
};

// A lane may already show something for the next collective while others still read the last one's.
struct Warp {
    Slot slots[2][warp_lanes];
    unsigned lanes, arrived, turn;
    const Thread *first;  // of those that have arrived
};

// Every one of `count` once: forward, backward, from the middle, or out of order.
struct Order {
    std::uint64_t next = 0, stride = 1, count;

    Order(std::uint64_t length, std::uint64_t number) : count(length) {
        if (number % 4 == 0 || length < 2) return;
        std::uint64_t random = number * 0x9e3779b97f4a7c15u;
        random ^= random >> 29;
        if (number % 4 == 1) {
            next = stride = length - 1;
        } else {
            next = random % length;
            if (number % 4 == 3)
                for (stride = (random >> 20) % length; std::gcd(stride, length) != 1;) stride = (stride + 1) % length;
        }
    }
    std::uint64_t take() {
        const std::uint64_t taken = next;
        next += stride;
        if (next >= count) next -= count;
        return taken;
    }
};

// The launch that runs. Everything is kept for the next one; never destroyed, as a fiber's stack may be in use while
// the process ends.
struct Grid {
    std::uint64_t launches = 0, orders = 0;
    const void *kernel = nullptr;
    Body body = nullptr;
    const void *parameters = nullptr;
    std::size_t shared_bytes = 0;
    void *shared = nullptr;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    unsigned returned = 0, at_barrier = 0;
    unsigned current = 0;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber *> idle;
};

Grid *const only_grid = new Grid;
Grid &grid() { return *only_grid; }

Thread &current_thread() { return grid().threads[grid().current]; }
Warp &current_warp() { return grid().warps[grid().current / warp_lanes]; }

bool are_same(const Where &a, const Where &b) {
    return a.line() == b.line() &&
           (a.file_name() == b.file_name() || strcmp(a.file_name(), b.file_name()) == 0);
}

std::string describe(const Thread &thread) {
    char text[512];
    std::snprintf(text, sizeof text, "thread (%u, %u, %u) at %s, %s:%u", thread.index.x, thread.index.y,
                  thread.index.z, thread.state == State::at_barrier ? "__syncthreads" : thread.collective,
                  thread.where.file_name(), static_cast<unsigned>(thread.where.line()));
    return text;
}

[[noreturn]] void fail_grid(const std::string &what) {
    fail("%s\n  in block (%u, %u, %u) of (%u, %u, %u), (%u, %u, %u) threads each, of the kernel at %s", what.c_str(),
         blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z, blockDim.x, blockDim.y, blockDim.z,
         describe_address(grid().kernel).c_str());
}

void release(unsigned begin, unsigned end, State waiting) {
    std::vector<Thread> &threads = grid().threads;
    for (unsigned i = begin; i < end; ++i)
        if (threads[i].state == waiting) threads[i].state = State::ready;
}

void release_warp_if_complete(unsigned warp) {
    Grid &all = grid();
    Warp &of = all.warps[warp];
    if (of.arrived == 0 || of.arrived < of.lanes) return;
    of.arrived = 0;
    of.turn ^= 1;
    release(warp * warp_lanes, std::min<unsigned>((warp + 1) * warp_lanes, all.threads.size()), State::at_collective);
}

void release_block_if_complete() {
    Grid &all = grid();
    if (all.at_barrier == 0 || all.at_barrier + all.returned < all.threads.size()) return;
    all.at_barrier = 0;
    release(0, all.threads.size(), State::at_barrier);
}

// A thread's life, on a fiber. One that has returned is waited for by nobody.
void run_thread() {
    Grid &all = grid();
    all.body(all.parameters);
    current_thread().state = State::returned;
    ++all.returned;
    --current_warp().lanes;
    all.idle.push_back(current_thread().fiber);
    release_warp_if_complete(all.current / warp_lanes);
    release_block_if_complete();
}

Fiber *take_fiber() {
    Grid &all = grid();
    if (all.idle.empty()) {
        all.fibers.push_back(std::make_unique<Fiber>(run_thread));
        return all.fibers.back().get();
    }
    Fiber *const fiber = all.idle.back();
    all.idle.pop_back();
    return fiber;
}

[[noreturn]] void fail_deadlock() {
    const Thread *barrier = nullptr, *collective = nullptr;
    unsigned at_barrier = 0, at_collective = 0;
    for (const Thread &thread : grid().threads) {
        if (thread.state == State::at_barrier && ++at_barrier == 1) barrier = &thread;
        if (thread.state == State::at_collective && ++at_collective == 1) collective = &thread;
    }
    std::string what = "threads wait for ones that do not come: " + std::to_string(at_barrier) + " at a barrier, " +
                       std::to_string(at_collective) + " at a collective, " + std::to_string(grid().returned) +
                       " returned";
    if (barrier) what += "\n  " + describe(*barrier);
    if (collective) what += "\n  " + describe(*collective);
    fail_grid(what);
}

void run_block() {
    Grid &all = grid();
    const unsigned count = all.threads.size();
    if (all.shared_bytes > 0) memset(all.shared, 0xff, all.shared_bytes);
    for (unsigned i = 0; i < count; ++i) {
        const uint3 index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        all.threads[i] = {State::ready, index, nullptr, {}, nullptr};
    }
    for (unsigned w = 0; w < all.warps.size(); ++w) {
        all.warps[w].lanes = std::min(warp_lanes, count - w * warp_lanes);
        all.warps[w].arrived = all.warps[w].turn = 0;
        memset(all.warps[w].slots, 0xff, sizeof all.warps[w].slots);
    }
    all.returned = all.at_barrier = 0;
    while (all.returned < count) {
        Order order(count, all.orders++);
        bool any = false;
        for (unsigned i = 0; i < count; ++i) {
            const auto place = static_cast<unsigned>(order.take());
            Thread &thread = all.threads[place];
            if (thread.state != State::ready) continue;
            any = true;
            all.current = place;
            threadIdx = thread.index;
            if (!thread.fiber) thread.fiber = take_fiber();
            thread.fiber->resume();
        }
        if (!any) fail_deadlock();
    }
}

// Whatever the caller's thread has set, the device rounds to nearest and keeps denormals.
class DeviceEnvironment {
public:
    DeviceEnvironment() {
        std::fegetenv(&before_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~DeviceEnvironment() { std::fesetenv(&before_); }

private:
    std::fenv_t before_;
};

}  // namespace

std::string describe_address(const void *address) {
    Dl_info info;
    char text[512];
    if (dladdr(address, &info) && info.dli_fname)
        std::snprintf(text, sizeof text, "%s+%#zx", info.dli_fname,
                      static_cast<std::size_t>(static_cast<const char *>(address) -
                                               static_cast<const char *>(info.dli_fbase)));
    else
        std::snprintf(text, sizeof text, "%p", address);
    return text;
}

void *dynamic_shared_memory() { return grid().shared; }
unsigned lane() { return grid().current % warp_lanes; }

void check_mask(unsigned mask, Where where) {
    if (mask != 0xffffffffu)
        fail("%s:%u: the emulation knows collectives of whole warps only; the mask is %#x", where.file_name(),
             static_cast<unsigned>(where.line()), mask);
}

void check_width(int width, Where where) {
    if (width < 1 || width > 32 || (width & (width - 1)))
        fail("%s:%u: a shuffle's width is a power of two up to 32; it is %d", where.file_name(),
             static_cast<unsigned>(where.line()), width);
}

// Threads that have returned are not waited for, as on the device. All others must be at the same barrier.
void wait_for_block(Where where) {
    Grid &all = grid();
    Thread &self = current_thread();
    self.state = State::at_barrier;
    self.where = where;
    if (++all.at_barrier + all.returned == all.threads.size())
        for (const Thread &other : all.threads)
            if (other.state == State::at_barrier && !are_same(other.where, where))
                fail_grid("a block's threads wait at different barriers:\n  " + describe(self) + "\n  " +
                          describe(other));
    release_block_if_complete();
    self.fiber->suspend();
}

const Slot *exchange(const char *collective, const void *shown, std::size_t bytes, Where where) {
    Grid &all = grid();
    Thread &self = current_thread();
    Warp &warp = current_warp();
    const unsigned number = all.current / warp_lanes;
    self.state = State::at_collective;
    self.where = where;
    self.collective = collective;
    if (warp.arrived == 0)
        warp.first = &self;
    else if (warp.first->collective != collective && strcmp(warp.first->collective, collective) != 0)
        fail_grid("lanes of a warp are at different collectives:\n  " + describe(self) + "\n  " +
                  describe(*warp.first));
    Slot *const slots = warp.slots[warp.turn];
    if (bytes > 0) memcpy(slots[all.current % warp_lanes].bytes, shown, bytes);
    ++warp.arrived;
    release_warp_if_complete(number);
    self.fiber->suspend();
    return slots;
}

namespace {

struct Fragments {
    std::uint32_t a[4], b[2];
};
static_assert(sizeof(Fragments) <= slot_bytes);

// d += Σ a(row, k)·b(k, column), of this lane's four places; a and b read the fragments of all lanes.
template <unsigned depth, class A, class B>
void multiply(float (&d)[4], A &&a, B &&b) {
    const unsigned g = lane() / 4, t = lane() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
        for (unsigned k = 0; k < depth; ++k) d[i] = fmaf(a(row, k), b(k, column), d[i]);
    }
}

float half_as_float(std::uint32_t pair, unsigned which) {
    return __uint_as_float(which ? pair & 0xffff0000u : pair << 16);
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
    const Fragments own = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const Slot *const slots = exchange("mma.m16n8k16.bf16", &own, sizeof own, where);
    multiply<16>(
        d,
        [&](unsigned row, unsigned k) {
            const auto of = shown_by<Fragments>(slots[row % 8 * 4 + k % 8 / 2]);
            return half_as_float(of.a[row / 8 + k / 8 * 2], k % 2);
        },
        [&](unsigned k, unsigned column) {
            const auto of = shown_by<Fragments>(slots[column * 4 + k % 8 / 2]);
            return half_as_float(of.b[k / 8], k % 2);
        });
}

void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Where where) {
    constexpr std::uint32_t kept = 0xffffe000u;
    const Fragments own = {{a[0] & kept, a[1] & kept, a[2] & kept, a[3] & kept}, {b[0] & kept, b[1] & kept}};
    const Slot *const slots = exchange("mma.m16n8k8.tf32", &own, sizeof own, where);
    multiply<8>(
        d,
        [&](unsigned row, unsigned k) {
            return __uint_as_float(shown_by<Fragments>(slots[row % 8 * 4 + k % 4]).a[row / 8 + k / 4 * 2]);
        },
        [&](unsigned k, unsigned column) {
            return __uint_as_float(shown_by<Fragments>(slots[column * 4 + k % 4]).b[k / 4]);
        });
}

cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, std::size_t parameter_bytes, Body body,
                   const void *parameters) {
    const dim3 blocks = config.gridDim, threads = config.blockDim;
    const std::uint64_t in_block = std::uint64_t{threads.x} * threads.y * threads.z;
    if (check_stream(config.stream) != cudaSuccess) return cudaErrorInvalidResourceHandle;
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || blocks.x > INT32_MAX || blocks.y > 65535 ||
        blocks.z > 65535 || in_block == 0 || in_block > most_threads || threads.z > 64)
        return fail_launch(cudaErrorInvalidConfiguration);
    if (config.dynamicSmemBytes > allowed_shared_bytes(kernel) || parameter_bytes > most_parameter_bytes)
        return fail_launch(cudaErrorInvalidValue);

    Grid &all = grid();
    const DeviceAtWork at_work;
    const DeviceEnvironment environment;
    all.kernel = kernel;
    all.body = body;
    all.parameters = parameters;
    all.shared_bytes = config.dynamicSmemBytes;
    const std::unique_ptr<void, decltype(&std::free)> shared(std::malloc(all.shared_bytes), std::free);
    all.shared = all.shared_bytes > 0 ? shared.get() : nullptr;
    all.threads.resize(in_block);
    all.warps.resize((in_block + warp_lanes - 1) / warp_lanes);
    blockDim = threads;
    gridDim = blocks;
    Order order(std::uint64_t{blocks.x} * blocks.y * blocks.z, all.launches++);
    for (std::uint64_t i = 0; i < order.count; ++i) {
        const std::uint64_t block = order.take();
        blockIdx = {static_cast<unsigned>(block % blocks.x), static_cast<unsigned>(block / blocks.x % blocks.y),
                    static_cast<unsigned>(block / blocks.x / blocks.y)};
        run_block();
    }
    return cudaSuccess;
}

}  // namespace emulation
