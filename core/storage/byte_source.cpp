#include "core/storage/byte_source.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "core/storage/defect.h"

namespace speft {

// O_NONBLOCK: opening a pipe would wait for its other end; a regular file does not mind.
FileSource::FileSource(const std::string &path)
    : path_(path), file_(open_file(path.c_str(), O_RDONLY | O_NONBLOCK)) {
    struct stat status;
    if (!file_.is_open() || fstat(file_.get(), &status) != 0) refuse_io("read", name(), errno);
    require_regular_file("read", name(), status);
    size_ = static_cast<std::uint64_t>(status.st_size);
}

void FileSource::read(std::uint64_t offset, std::span<std::byte> target) const {
    while (!target.empty()) {
        const ssize_t got = pread(file_.get(), target.data(), target.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) refuse_io("read", name(), errno);
        if (got == 0) throw Defect("it became shorter while it was read");
        target = target.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
}

void MemorySource::read(std::uint64_t offset, std::span<std::byte> target) const {
    std::ranges::copy(bytes_.subspan(offset, target.size()), target.begin());
}

}  // namespace speft
