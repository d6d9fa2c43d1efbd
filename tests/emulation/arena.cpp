#include "tests/emulation/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "tests/emulation/device.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace emulation {
namespace {

constexpr std::uintptr_t alignment = 256;
constexpr std::uintptr_t gap = 1024;  // behind every piece, for the address sanitizer to see an overrun
constexpr std::uintptr_t reserved = std::uintptr_t{16} << 30;
// A huge one: with those, changing who may touch memory takes a small part of the time.
constexpr std::uintptr_t page = 2 << 20;
constexpr std::uintptr_t worth_giving_back = 1 << 20;
#ifdef __SANITIZE_ADDRESS__
constexpr std::uintptr_t quarantine = 64 << 20;  // of memory that was freed, for the sanitizer to see late uses
#else
constexpr std::uintptr_t quarantine = 0;
#endif

constexpr std::uintptr_t round_up(std::uintptr_t value, std::uintptr_t unit) {
    return (value + unit - 1) / unit * unit;
}

// With its gap.
constexpr std::uintptr_t measure(std::size_t bytes) { return round_up(bytes, alignment) + gap; }

void forbid([[maybe_unused]] std::uintptr_t begin, [[maybe_unused]] std::uintptr_t length) {
#ifdef __SANITIZE_ADDRESS__
    __asan_poison_memory_region(reinterpret_cast<void *>(begin), length);
#endif
}

void allow([[maybe_unused]] std::uintptr_t begin, [[maybe_unused]] std::uintptr_t length) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(reinterpret_cast<void *>(begin), length);
#endif
}

class Arena {
public:
    Arena() : guarded_(!shares_memory()) {
        void *const memory = mmap(nullptr, reserved + 2 * page, guarded_ ? PROT_NONE : PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) fail("no room to reserve for the device's memory: %s", std::strerror(errno));
        // The page in front is never there.
        begin_ = end_ = protected_ = round_up(reinterpret_cast<std::uintptr_t>(memory), page) + page;
        mprotect(reinterpret_cast<void *>(begin_ - page), page, PROT_NONE);
    }

    bool contains(std::uintptr_t place) const { return place >= begin_ && place < limit(); }

    void *take(std::size_t bytes) {
        if (bytes > reserved) return nullptr;
        const std::uintptr_t length = measure(bytes);
        const std::lock_guard lock(mutex_);
        const std::uintptr_t place = find(length);
        if (place == 0) return nullptr;
        forbid(place, length);
        allow(place, bytes);
        return reinterpret_cast<void *>(place);
    }

    void give_back(std::uintptr_t place, std::size_t bytes) {
        const std::uintptr_t length = measure(bytes);
        const std::lock_guard lock(mutex_);
        forbid(place, length);
        waiting_.emplace_back(place, length);
        for (waiting_bytes_ += length; waiting_bytes_ > quarantine; waiting_.pop_front()) {
            waiting_bytes_ -= waiting_.front().second;
            add_free(waiting_.front().first, waiting_.front().second);
        }
    }

    void open() {
        mutex_.lock();
        protect(PROT_READ | PROT_WRITE);
    }

    void close() {
        protect(PROT_NONE);
        mutex_.unlock();
    }

private:
    std::uintptr_t limit() const { return begin_ + reserved; }

    // The first that is long enough.
    std::uintptr_t find(std::uintptr_t length) {
        for (auto [place, free] : free_) {
            if (free < length) continue;
            free_.erase(place);
            if (free > length) free_.emplace(place + length, free - length);
            return place;
        }
        if (length > limit() - end_) return 0;
        end_ += length;
        if (end_ > protected_) {
            const std::uintptr_t grown = round_up(end_, page) - protected_;
            madvise(reinterpret_cast<void *>(protected_), grown, MADV_HUGEPAGE);
            protected_ += grown;
        }
        return end_ - length;
    }

    void add_free(std::uintptr_t place, std::uintptr_t length) {
        if (length >= worth_giving_back) {
            const std::uintptr_t from = round_up(place, page), to = (place + length) / page * page;
            if (from < to) madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
        }
        auto next = free_.lower_bound(place);
        if (next != free_.end() && place + length == next->first) {
            length += next->second;
            next = free_.erase(next);
        }
        if (next != free_.begin()) {
            const auto before = std::prev(next);
            if (before->first + before->second == place) {
                place = before->first;
                length += before->second;
                free_.erase(before);
            }
        }
        if (place + length == end_)
            end_ = place;
        else
            free_.emplace(place, length);
    }

    void protect(int access) {
        const std::uintptr_t length = protected_ - begin_;
        if (guarded_ && length > 0 && mprotect(reinterpret_cast<void *>(begin_), length, access) != 0)
            fail("cannot protect the device's memory: %s", std::strerror(errno));
    }

    const bool guarded_;
    std::mutex mutex_;
    std::uintptr_t begin_, end_;  // of what is in use
    // The end of what was ever in use. All of it is opened and closed, as its huge pages set it off from what follows:
    // nothing is to be cut and joined each time.
    std::uintptr_t protected_;
    std::map<std::uintptr_t, std::uintptr_t> free_;  // between them: where, and how long
    std::deque<std::pair<std::uintptr_t, std::uintptr_t>> waiting_;  // freed, and not given out again yet
    std::uintptr_t waiting_bytes_ = 0;
};

// Never destroyed: static objects may free something after it would have been.
Arena &arena() {
    static Arena *const only = new Arena;
    return *only;
}

}  // namespace

void *take_memory(std::size_t bytes) { return arena().take(bytes); }

void return_memory(void *memory, std::size_t bytes) {
    arena().give_back(reinterpret_cast<std::uintptr_t>(memory), bytes);
}

bool is_in_arena(const void *place) { return arena().contains(reinterpret_cast<std::uintptr_t>(place)); }

DeviceAtWork::DeviceAtWork() { arena().open(); }
DeviceAtWork::~DeviceAtWork() { arena().close(); }

}  // namespace emulation
