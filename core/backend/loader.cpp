#include "core/backend/loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <vector>

// The CPU backend where it is linked in, as in libspeft.a: NULL elsewhere. Nothing is compiled twice for it.
extern "C" __attribute__((weak, visibility("hidden"))) const speft_backend_table *speft_cpu_backend_main(
    std::uint32_t abi_version);

namespace speft {
namespace {

std::string folder_of_this_library() {
    Dl_info info;
    if (!dladdr(reinterpret_cast<void *>(&load_backend), &info) || !info.dli_fname) return {};
    const std::string path = info.dli_fname;
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::vector<std::string> folders_to_search(const std::string &folder) {
    std::vector<std::string> folders;
    if (!folder.empty()) folders.push_back(folder);
    if (const char *path = std::getenv("SPEFT_BACKEND_PATH")) {
        const std::string list = path;
        for (std::size_t begin = 0; begin <= list.size();) {
            const std::size_t end = std::min(list.find(':', begin), list.size());
            if (end > begin) folders.push_back(list.substr(begin, end - begin));
            begin = end + 1;
        }
    }
    const std::string own = folder_of_this_library();
    if (!own.empty()) folders.push_back(own);
    return folders;
}

// NULL where there is no library to load; dlerror() has the reason. It tells a lack of memory like a file that is
// missing or broken, but errno knows.
void *open_library(const std::string &path) {
    errno = 0;
    void *const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library && errno == ENOMEM) throw std::bad_alloc();
    return library;
}

LoadedBackend check(const std::string &name, const std::string &origin, speft_backend_main_function entry) {
    const speft_backend_table *table = entry(SPEFT_BACKEND_ABI_VERSION);
    if (!table)
        return {nullptr, origin + " does not speak version " + std::to_string(SPEFT_BACKEND_ABI_VERSION) +
                             " of the backend interface"};
    if (table->abi_version != SPEFT_BACKEND_ABI_VERSION || table->struct_size < sizeof(speft_backend_table))
        return {nullptr, origin + " has version " + std::to_string(table->abi_version) +
                             " of the backend interface; expected " + std::to_string(SPEFT_BACKEND_ABI_VERSION)};
    if (name != table->name) return {nullptr, origin + " is the backend '" + table->name + "'"};
    return {table, {}};
}

}  // namespace

LoadedBackend load_backend(const std::string &name, const std::string &folder) {
    if (name == "cpu" && speft_cpu_backend_main) return check(name, "the built-in backend", speft_cpu_backend_main);
    const std::string file = "libspeft_" + name + ".so";
    std::string missing, attempts;
    for (const std::string &place : folders_to_search(folder)) {
        const std::string path = place + "/" + file;
        std::string reason;
        if (access(path.c_str(), F_OK) != 0) {
            missing += (missing.empty() ? "" : ", ") + place;
            continue;
        }
        if (void *library = open_library(path)) {
            if (void *entry = dlsym(library, "speft_backend_main")) {
                LoadedBackend loaded = check(name, path, reinterpret_cast<speft_backend_main_function>(entry));
                if (loaded.table) return loaded;
                reason = loaded.reason;
            } else {
                reason = path + " has no speft_backend_main";
            }
        } else {
            reason = dlerror();
        }
        attempts += (attempts.empty() ? "" : "; ") + reason;
    }
    // Where a library was found, it is what has to be mended: that others have none is of no interest.
    return {nullptr, attempts.empty() ? "there is no " + file + " in " + missing : attempts};
}

}  // namespace speft
