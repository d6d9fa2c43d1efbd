// Where a file's bytes come from: a file, or the host's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/storage/file_descriptor.h"

namespace speft {

class ByteSource {
public:
    virtual ~ByteSource() = default;

    // For messages: "'a.safetensors'".
    virtual std::string name() const = 0;
    virtual std::uint64_t size() const = 0;
    // Fills `target`, which lies within the size, from `offset` on.
    virtual void read(std::uint64_t offset, std::span<std::byte> target) const = 0;
};

// A regular file. Failures are Failure(SPEFT_IO) with errno; Defect when it shrinks while it is read.
class FileSource : public ByteSource {
public:
    explicit FileSource(const std::string &path);

    std::string name() const override { return quote_path(path_); }
    std::uint64_t size() const override { return size_; }
    void read(std::uint64_t offset, std::span<std::byte> target) const override;

private:
    std::string path_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;
};

// The bytes stay the caller's.
class MemorySource : public ByteSource {
public:
    explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}

    std::string name() const override { return "the given bytes"; }
    std::uint64_t size() const override { return bytes_.size(); }
    void read(std::uint64_t offset, std::span<std::byte> target) const override;

private:
    std::span<const std::byte> bytes_;
};

}  // namespace speft
