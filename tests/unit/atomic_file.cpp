#include "core/storage/atomic_file.h"

#include <cerrno>
#include <filesystem>
#include <span>
#include <string>

#include <boost/test/unit_test.hpp>
#include <sys/stat.h>

#include "tests/unit/adapter_samples.h"

namespace speft::testing {

namespace {

namespace fs = std::filesystem;

void save(const std::string &path, const std::string &content) {
    AtomicFile file(path);
    file.write(std::as_bytes(std::span(content)));
    file.commit();
}

mode_t get_mode(const std::string &path) {
    struct stat status;
    BOOST_REQUIRE_EQUAL(stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
}

class Umask {
public:
    explicit Umask(mode_t mask) : before_(umask(mask)) {}
    ~Umask() { umask(before_); }

private:
    mode_t before_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(atomic_file)

BOOST_AUTO_TEST_CASE(appears_on_commit_and_not_before) {
    const TemporaryFolder folder;
    const std::string path = folder / "new";
    {
        AtomicFile file(path);
        const std::string content = "content";
        file.write(std::as_bytes(std::span(content)));
        BOOST_CHECK(!fs::exists(path));
        file.commit();
    }
    BOOST_CHECK_EQUAL(read_bytes(path), "content");
    BOOST_CHECK_EQUAL(folder.list().size(), 1u);
}

BOOST_AUTO_TEST_CASE(leaves_the_old_file_without_commit) {
    const TemporaryFolder folder;
    const std::string path = folder / "file", content = "unfinished";
    write_bytes(path, "old");
    AtomicFile(path).write(std::as_bytes(std::span(content)));
    BOOST_CHECK_EQUAL(read_bytes(path), "old");
    BOOST_CHECK_EQUAL(folder.list().size(), 1u);
}

BOOST_AUTO_TEST_CASE(has_the_permissions_of_a_new_file_or_of_the_replaced_one) {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    const Umask umask_of_group(027);
    save(path, "new");
    BOOST_CHECK_EQUAL(get_mode(path), 0640u);
    for (const mode_t mode : {0600u, 0664u, 0777u}) {
        fs::permissions(path, static_cast<fs::perms>(mode));
        save(path, "newer");
        BOOST_CHECK_EQUAL(get_mode(path), mode);
    }
}

BOOST_AUTO_TEST_CASE(replaces_what_a_link_leads_to) {
    const TemporaryFolder folder;
    fs::create_directory(folder / "data");
    write_bytes(folder / "data/file", "old");
    fs::create_symlink("data/file", folder / "relative");
    fs::create_symlink(folder / "relative", folder / "absolute");
    save(folder / "absolute", "new");
    BOOST_CHECK(fs::is_symlink(folder / "absolute"));
    BOOST_CHECK(fs::is_symlink(folder / "relative"));
    BOOST_CHECK(!fs::is_symlink(folder / "data/file"));
    BOOST_CHECK_EQUAL(read_bytes(folder / "data/file"), "new");

    fs::create_symlink("data/later", folder / "dangling");
    save(folder / "dangling", "made");
    BOOST_CHECK(fs::is_symlink(folder / "dangling"));
    BOOST_CHECK_EQUAL(read_bytes(folder / "data/later"), "made");
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_place_for_a_file) {
    const TemporaryFolder folder;
    fs::create_symlink("b", folder / "a");
    fs::create_symlink("a", folder / "b");
    write_bytes(folder / "file", "old");
    const auto refused = [](const std::string &path) {
        return expect_failure(SPEFT_IO, "cannot write '" + path + "'", [&] { save(path, "content"); });
    };
    BOOST_CHECK_EQUAL(refused(folder / "a"), ELOOP);
    BOOST_CHECK_EQUAL(refused(folder.path().string()), EISDIR);
    BOOST_CHECK_EQUAL(refused(folder / "missing/file"), ENOENT);
    BOOST_CHECK_EQUAL(refused(folder / "file/below"), ENOTDIR);
    BOOST_CHECK_EQUAL(refused(folder / std::string(300, 'x').c_str()), ENAMETOOLONG);
    BOOST_CHECK_EQUAL(refused(""), ENOENT);
    BOOST_CHECK_EQUAL(refused("/dev/null"), EINVAL);
    BOOST_CHECK(fs::is_character_file("/dev/null"));
    BOOST_CHECK_EQUAL(folder.list().size(), 3u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace speft::testing
