// An open file, closed when it goes out of scope; and how a refusal of the operating system is reported.
#pragma once

#include <string>
#include <utility>

#include <sys/stat.h>

namespace speft {

class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int number) : number_(number) {}
    FileDescriptor(FileDescriptor &&other) noexcept : number_(std::exchange(other.number_, -1)) {}
    FileDescriptor &operator=(FileDescriptor &&other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~FileDescriptor() { close(); }

    int get() const { return number_; }
    bool is_open() const { return number_ >= 0; }
    // 0, or an errno. It is closed either way.
    int close() noexcept;

private:
    int number_ = -1;
};

// open(2) with O_CLOEXEC, again when interrupted; not open, with errno set, when it fails.
FileDescriptor open_file(const char *path, int flags, mode_t mode = 0);

// For messages: "'a.safetensors'".
inline std::string quote_path(const std::string &path) { return "'" + path + "'"; }

// Failure(SPEFT_IO): "cannot write 'a.safetensors': No space left on device".
[[noreturn]] void refuse_io(const char *verb, const std::string &name, int code);

// Folders, devices and pipes hold no adapters.
void require_regular_file(const char *verb, const std::string &name, const struct stat &status);

}  // namespace speft
