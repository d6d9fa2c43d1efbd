// The host's own function that takes a file's bytes.
#pragma once

#include "core/storage/byte_sink.h"
#include "speft/storage.h"

namespace speft {

class HostWriter : public ByteSink {
public:
    explicit HostWriter(const speft_writer &writer) : writer_(writer) {}

    std::string name() const override { return "to the writer"; }
    void write(std::span<const std::byte> bytes) override;
    void commit() override {}  // the host knows from the call's status

private:
    speft_writer writer_;
};

}  // namespace speft
