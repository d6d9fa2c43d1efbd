// Scratch memory for vector code.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace speft::cpu {

// Starts at a cache line; not initialized. Throws std::bad_alloc.
class AlignedBuffer {
public:
    explicit AlignedBuffer(std::uint64_t count)
        : data_(static_cast<float *>(operator new(count * sizeof(float), alignment))) {}

    float *data() const { return data_.get(); }

private:
    static constexpr std::align_val_t alignment{64};
    struct Release {
        void operator()(float *data) const { operator delete(data, alignment); }
    };
    std::unique_ptr<float, Release> data_;
};

}  // namespace speft::cpu
