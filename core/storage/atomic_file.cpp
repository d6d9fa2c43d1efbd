#include "core/storage/atomic_file.h"

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace speft {

namespace {

namespace fs = std::filesystem;

// Links are followed by hand because one that leads nowhere yet names the file to make.
fs::path follow_links(const std::string &path) {
    constexpr int most = 40;  // as the kernel does
    fs::path target = path;
    std::error_code error;
    for (int followed = 0; fs::is_symlink(fs::symlink_status(target, error)); ++followed) {
        if (followed == most) refuse_io("write", quote_path(path), ELOOP);
        const fs::path link = fs::read_symlink(target, error);
        if (error) refuse_io("write", quote_path(path), error.value());
        target = target.parent_path() / link;
    }
    return target;
}

std::string make_temporary_name() {
    std::uint64_t bits;  // from the kernel itself: std::random_device would need the newest C library
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits) refuse_io("write", "a temporary name", errno);
    char name[32];
    std::snprintf(name, sizeof name, ".speft-%016" PRIx64 ".tmp", bits);
    return name;
}

int sync(int file) {
    while (fsync(file) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

// Makes the rename durable where the file system can. When it cannot, the new file stands all the same, and after a
// power cut there is the old one or the new one, both whole: nothing that a caller could act on.
void sync_folder(const fs::path &folder) {
    const FileDescriptor file = open_file(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
    if (file.is_open()) sync(file.get());
}

}  // namespace

AtomicFile::AtomicFile(const std::string &path) : path_(path), target_(follow_links(path)) {
    struct stat replaced;
    if (stat(target_.c_str(), &replaced) != 0) {
        if (errno != ENOENT || path.empty()) fail(errno);  // "" is no name for a new file
        create(0666);
        return;
    }
    require_regular_file("write", name(), replaced);
    // Renaming asks only the folder; a file that its owner has write-protected stays protected.
    if (faccessat(AT_FDCWD, target_.c_str(), W_OK, AT_EACCESS) != 0) fail(errno);
    const mode_t mode = replaced.st_mode & 0777;
    create(mode);
    if (fchmod(file_.get(), mode) != 0) fail(errno);  // the umask may have taken some of it
}

AtomicFile::Temporary::~Temporary() {
    if (!name.empty()) unlink(name.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
        if (written >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        else if (errno != EINTR)
            fail(errno);
    }
}

void AtomicFile::commit() {
    if (const int code = sync(file_.get())) fail(code);
    if (const int code = file_.close()) fail(code);
    if (rename(temporary_.name.c_str(), target_.c_str()) != 0) fail(errno);
    temporary_.name.clear();
    sync_folder(target_.parent_path());
}

void AtomicFile::create(mode_t mode) {
    fs::path temporary;
    do {
        temporary = target_.parent_path() / make_temporary_name();
        file_ = open_file(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL, mode);
    } while (!file_.is_open() && errno == EEXIST);
    if (!file_.is_open()) fail(errno);
    temporary_.name = std::move(temporary);
}

void AtomicFile::fail(int code) const { refuse_io("write", name(), code); }

}  // namespace speft
