// The device's memory: a part of the address space that the host cannot look into.
#pragma once

#include <cstddef>

namespace emulation {

// Aligned as CUDA's; null where there is no room. It is the caller who keeps how long it is.
void *take_memory(std::size_t bytes);
void return_memory(void *memory, std::size_t bytes);

// Whether it is, was or may come to be memory of the device.
bool is_in_arena(const void *place);

// While it lives, the device works: its memory is there, and other threads' work waits.
class DeviceAtWork {
public:
    DeviceAtWork();
    ~DeviceAtWork();
    DeviceAtWork(const DeviceAtWork &) = delete;
    DeviceAtWork &operator=(const DeviceAtWork &) = delete;
};

}  // namespace emulation
