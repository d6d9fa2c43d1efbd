// Where a file's bytes go, in order.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace speft {

class ByteSink {
public:
    virtual ~ByteSink() = default;

    // For messages: "'a.safetensors'".
    virtual std::string name() const = 0;
    // Failures are Failure(SPEFT_IO) with errno.
    virtual void write(std::span<const std::byte> bytes) = 0;
    // After the last byte. A sink that goes without it leaves nothing behind, if it can.
    virtual void commit() = 0;
};

}  // namespace speft
