// Device memory with an owner. It must not outlive its device.
#pragma once

#include <cstdint>
#include <utility>

#include "core/backend/device.h"

namespace speft {

template <class Element>
class Buffer {
public:
    Buffer() = default;
    // Not initialized.
    Buffer(Device &device, std::uint64_t count)
        : device_(&device), count_(count),
          data_(static_cast<Element *>(device.allocate(count * sizeof(Element)))) {}
    static Buffer zeros(Device &device, std::uint64_t count) {
        Buffer buffer(device, count);
        device.zero(buffer.data(), count * sizeof(Element));
        return buffer;
    }
    Buffer(Buffer &&other) noexcept { swap(other); }
    Buffer &operator=(Buffer &&other) noexcept {
        Buffer(std::move(other)).swap(*this);
        return *this;
    }
    ~Buffer() {
        if (device_) device_->deallocate(data_, count_ * sizeof(Element));
    }

    Element *data() const { return data_; }
    std::uint64_t count() const { return count_; }
    explicit operator bool() const { return device_ != nullptr; }

private:
    void swap(Buffer &other) noexcept {
        std::swap(device_, other.device_);
        std::swap(count_, other.count_);
        std::swap(data_, other.data_);
    }

    Device *device_ = nullptr;
    std::uint64_t count_ = 0;
    Element *data_ = nullptr;
};

}  // namespace speft
