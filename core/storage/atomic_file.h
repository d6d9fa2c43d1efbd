// A file that appears all at once: written under a temporary name in the same folder, synced, and renamed over the
// target. Whenever the process or the machine stops, the target is the whole old file or the whole new one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "core/storage/byte_sink.h"
#include "core/storage/file_descriptor.h"

namespace speft {

// Every failure is Failure(SPEFT_IO) with errno. Without `commit` nothing is left behind and the target is untouched.
class AtomicFile : public ByteSink {
public:
    // A symbolic link is followed: the file that it leads to is replaced, or made. The new file has the permission
    // bits of the one it replaces, else those that the umask gives.
    explicit AtomicFile(const std::string &path);
    AtomicFile(const AtomicFile &) = delete;
    AtomicFile &operator=(const AtomicFile &) = delete;

    std::string name() const override { return quote_path(path_); }
    void write(std::span<const std::byte> bytes) override;
    void commit() override;

private:
    // The file of this name, if any, goes when this does.
    struct Temporary {
        ~Temporary();
        std::filesystem::path name;
    };

    void create(mode_t mode);
    [[noreturn]] void fail(int code) const;

    std::string path_;  // as the caller gave it, for messages
    std::filesystem::path target_;
    Temporary temporary_;
    FileDescriptor file_;
};

}  // namespace speft
