// Who is merged into which memory. Original bits belong to the place they came from, so two adapters must not both
// keep "the originals" of one weight: the second would take the first one's changes for the base.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace speft {

// A range of host memory that one adapter is merged into, process-wide; given back at the end of its life.
class Claim {
public:
    Claim() = default;
    // Throws INVALID_STATE, naming `parameter`, when another claim overlaps (any adapter's: two parameters of one
    // adapter must not share memory either). Claims on `except` are passed over: a rebinding replaces its own.
    Claim(const void *memory, std::uint64_t bytes, const std::string &parameter, const Claim *except = nullptr);
    Claim(Claim &&other) noexcept { swap(other); }
    Claim &operator=(Claim &&other) noexcept {
        Claim(std::move(other)).swap(*this);
        return *this;
    }
    ~Claim();

private:
    void swap(Claim &other) noexcept { std::swap(ticket_, other.ticket_); }
    std::uint64_t ticket_ = 0;  // 0: none
};

}  // namespace speft
