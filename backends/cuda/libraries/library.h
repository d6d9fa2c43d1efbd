// NVIDIA's libraries, opened at run time where there are any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "core/base/status.h"

namespace speft::cuda {

// NULL where there is none. One that the host has loaded already comes first, so that there are not two.
void *open_library(const char *name);
void *find_symbol(void *library, const char *name);

template <class Function>
bool find(void *library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(find_symbol(library, name));
    return function != nullptr;
}

// One of a library's handles for each device, made when it is first needed and never destroyed: at a process's end the
// driver may be gone before. A handle has one stream at a time: whoever uses it holds `mutex`.
class Handles {
public:
    using Create = int (*)(void **);

    // NULL when the library cannot make one. The device is the current one.
    void *get(int ordinal, Create create) {
        void *&handle = handles_[ordinal];
        if (!handle && create(&handle) != 0) handle = nullptr;
        return handle;
    }
    std::mutex mutex;

private:
    std::map<int, void *> handles_;
};

// Of the libraries' statuses 0 is success.
inline void check_library(int status, const char *call) {
    if (status != 0)
        throw Failure(SPEFT_DEVICE, std::string(call) + " returns " + std::to_string(status), {}, status);
}

}  // namespace speft::cuda
