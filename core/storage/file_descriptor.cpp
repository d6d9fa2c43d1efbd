#include "core/storage/file_descriptor.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "core/base/status.h"

namespace speft {

int FileDescriptor::close() noexcept {
    const int number = std::exchange(number_, -1);
    // On Linux an interrupted close has closed; the number may already be another thread's file.
    if (number < 0 || ::close(number) == 0 || errno == EINTR) return 0;
    return errno;
}

FileDescriptor open_file(const char *path, int flags, mode_t mode) {
    int number;
    do number = ::open(path, flags | O_CLOEXEC, mode);
    while (number < 0 && errno == EINTR);
    return FileDescriptor(number);
}

void refuse_io(const char *verb, const std::string &name, int code) {
    const std::string reason = std::generic_category().message(code);
    throw Failure(SPEFT_IO, std::string("cannot ") + verb + " " + name + ": " + reason, {}, code);
}

void require_regular_file(const char *verb, const std::string &name, const struct stat &status) {
    if (S_ISREG(status.st_mode)) return;
    if (S_ISDIR(status.st_mode)) refuse_io(verb, name, EISDIR);
    throw Failure(SPEFT_IO, std::string("cannot ") + verb + " " + name + ": not a regular file", {}, EINVAL);
}

}  // namespace speft
