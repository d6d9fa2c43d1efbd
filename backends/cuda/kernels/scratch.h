// Scratch, handed out piece by piece; measured the same way, from no memory at all.
#pragma once

#include <cstdint>

namespace speft::cuda {

class Scratch {
public:
    explicit Scratch(void *memory) : begin_(reinterpret_cast<std::uintptr_t>(memory)) {}

    // Room for `count` elements, aligned to 16.
    template <class Element>
    Element *take(std::uint64_t count) {
        auto *const place = reinterpret_cast<Element *>(begin_ + bytes_);
        bytes_ += (count * sizeof(Element) + 15) / 16 * 16;
        return place;
    }

    std::uint64_t bytes() const { return bytes_; }

private:
    std::uintptr_t begin_;
    std::uint64_t bytes_ = 0;
};

}  // namespace speft::cuda
