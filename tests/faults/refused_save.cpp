// The operating system refuses a save: the status is IO with its errno, the old file is as it was, and nothing else
// is left in the folder.
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <sched.h>
#include <string>
#include <system_error>

#include <boost/test/unit_test.hpp>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/storage/adapter_file.h"
#include "tests/faults/child.h"
#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

namespace fs = std::filesystem;

AdapterRecord make_large_record() {
    Draws draws(20);
    AdapterRecord record = make_empty_record();
    record.parameters.push_back(make_dense(draws, "head", {300, 1000}));
    record.parameters.push_back(make_sparse(draws, "w", {1000, 1000}, draw_mask(draws, 1000000, 50000)));
    return record;
}

std::string refusal(int code, const std::string &path) {
    return std::to_string(SPEFT_IO) + " " + std::to_string(code) + ": cannot write '" + path +
           "': " + std::generic_category().message(code);
}

void require_success(int result, const char *call) {
    if (result != 0) throw std::system_error(errno, std::generic_category(), call);
}

// Root of a user namespace of its own, in which it stands for the user that it was.
void become_root() {
    const std::string user = std::to_string(geteuid()), group = std::to_string(getegid());
    require_success(unshare(CLONE_NEWUSER), "unshare");
    write_bytes("/proc/self/setgroups", "deny");
    write_bytes("/proc/self/uid_map", "0 " + user + " 1");
    write_bytes("/proc/self/gid_map", "0 " + group + " 1");
}

// A file system of this size over `folder`, for the calling process only.
void mount_small_disk(const std::string &folder, const char *size) {
    if (geteuid() != 0) become_root();
    require_success(unshare(CLONE_NEWNS), "unshare");
    require_success(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount private");
    require_success(mount("tmpfs", folder.c_str(), "tmpfs", 0, size), "mount tmpfs");
}

// Containers often forbid it.
boost::test_tools::assertion_result can_mount(boost::unit_test::test_unit_id) {
    const TemporaryFolder folder;
    const std::string answer = ask_child([&] {
        mount_small_disk(folder.path().string(), "size=64k");
        return std::string();
    });
    boost::test_tools::assertion_result result(answer.empty());
    result.message() << "no file system can be mounted here: " << answer;
    return result;
}

// Root may do everything, so the rights are tried as "nobody".
void give_up_root() {
    constexpr uid_t nobody = 65534;
    if (geteuid() == 0) require_success(setuid(nobody), "setuid");
}

// Files may not grow beyond this while it lives: a disk that is full after so many bytes.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        require_success(getrlimit(RLIMIT_FSIZE, &before_), "getrlimit");
        const rlimit limit{bytes, before_.rlim_max};
        require_success(setrlimit(RLIMIT_FSIZE, &limit), "setrlimit");
    }
    ~FileSizeLimit() {
        setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

private:
    rlimit before_;
    void (*handler_)(int);
};

}  // namespace

BOOST_AUTO_TEST_SUITE(refused_save)

// The file ends in the length, in the header, within a piece (a short write), at its end, and one byte before all.
BOOST_AUTO_TEST_CASE(growth_stops_after_any_number_of_bytes) {
    const AdapterRecord old = make_record(20), record = make_large_record();
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    save_file(record, path);
    const std::uint64_t size = fs::file_size(path);
    save_file(old, path);
    for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{8}, std::uint64_t{100},
                                      std::uint64_t{65536}, std::uint64_t{100001}, size / 2, size - 1}) {
        const auto save = [&] {
            const FileSizeLimit full_after(limit);
            save_file(record, path);
        };
        BOOST_CHECK_EQUAL(describe_failure(save), refusal(EFBIG, path));
        BOOST_CHECK(same(load_file(path), old));
        BOOST_CHECK_EQUAL(folder.list().size(), 1u);
    }
    const FileSizeLimit just_enough(size);
    save_file(record, path);
    BOOST_CHECK(same(load_file(path), record));
}

BOOST_AUTO_TEST_CASE(disk_is_full, *boost::unit_test::precondition(can_mount)) {
    const TemporaryFolder folder;
    const std::string answer = ask_child([&]() -> std::string {
        mount_small_disk(folder.path().string(), "size=256k");
        const std::string path = folder / "a.safetensors";
        const AdapterRecord old = make_record(20);
        save_file(old, path);
        const std::string refused = describe_failure([&] { save_file(make_large_record(), path); });
        if (refused != refusal(ENOSPC, path)) return refused;
        if (!same(load_file(path), old)) return "the old file has changed";
        if (folder.list().size() != 1) return "something is left behind";
        save_file(make_record(21), path);  // and the room is free again
        return "as before";
    });
    BOOST_CHECK_EQUAL(answer, "as before");
}

BOOST_AUTO_TEST_CASE(folder_or_file_may_not_be_written) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    const AdapterRecord old = make_record(20);
    save_file(old, path);
    const auto save_as_nobody = [&] {
        return ask_child([&] {
            give_up_root();
            return describe_failure([&] { save_file(make_large_record(), path); });
        });
    };
    fs::permissions(path, fs::perms(0666));
    fs::permissions(folder.path(), fs::perms(0555));
    BOOST_CHECK_EQUAL(save_as_nobody(), refusal(EACCES, path));
    // In a folder where anyone may rename, a write-protected file is still protected.
    fs::permissions(folder.path(), fs::perms(0777));
    fs::permissions(path, fs::perms(0444));
    BOOST_CHECK_EQUAL(save_as_nobody(), refusal(EACCES, path));
    BOOST_CHECK(same(load_file(path), old));
    BOOST_CHECK_EQUAL(folder.list().size(), 1u);
    fs::permissions(path, fs::perms(0666));
    BOOST_CHECK_EQUAL(save_as_nobody(), "done");
}

BOOST_AUTO_TEST_CASE(file_may_not_be_read) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    save_file(make_record(20), path);
    fs::permissions(folder.path(), fs::perms(0755));
    fs::permissions(path, fs::perms(0000));
    const std::string answer = ask_child([&] {
        give_up_root();
        return describe_failure([&] { load_file(path); });
    });
    BOOST_CHECK_EQUAL(answer, std::to_string(SPEFT_IO) + " " + std::to_string(EACCES) + ": cannot read '" + path +
                                  "': Permission denied");
}

BOOST_AUTO_TEST_CASE(folder_is_missing) {
    const TemporaryFolder folder;
    const std::string path = folder / "missing/a.safetensors";
    BOOST_CHECK_EQUAL(describe_failure([&] { save_file(make_record(20), path); }),
                      refusal(ENOENT, path));
    BOOST_CHECK(folder.list().empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
