// Finds and loads one backend's plug-in.
#pragma once

#include <string>

#include "speft/backend.h"

namespace speft {

// What became of it: a table, or the reason why there is none ("" with a table).
struct LoadedBackend {
    const speft_backend_table *table = nullptr;
    std::string reason;
};

// Looks for libspeft_<name>.so in `folder` (when not empty), in each folder of SPEFT_BACKEND_PATH, then beside
// libspeft. A plug-in that was loaded stays loaded: its threads and the host's pointers to it may outlive any call.
LoadedBackend load_backend(const std::string &name, const std::string &folder);

}  // namespace speft
