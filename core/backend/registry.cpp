#include "core/backend/registry.h"

#include <mutex>
#include <set>

#include "core/backend/loader.h"
#include "core/base/status.h"

namespace speft {
namespace {

// Never destroyed: a thread that outlives main may still hold a context.
struct Registry {
    std::mutex mutex;
    BackendState states[backend_count];
    std::set<std::string> texts;  // every reason ever told: callers may hold one for as long as they like
};

Registry &registry() {
    static Registry &instance = *new Registry;
    return instance;
}

// A failed attempt is tried again: the host may have set a path since.
const BackendState &resolve(Registry &all, std::int32_t index, const std::string &folder) {
    BackendState &state = all.states[index];
    state.name = backend_names[index];
    if (state.table) return state;
    state.version = "";
    LoadedBackend loaded = load_backend(state.name, folder);
    if (loaded.table) {
        const char *why = nullptr;
        state.version = loaded.table->version;
        if (loaded.table->score(&why) > 0)
            state.table = loaded.table;
        else
            loaded.reason = why ? why : "it cannot run on this machine";
    }
    state.reason = all.texts.insert(loaded.reason).first->c_str();
    return state;
}

}  // namespace

BackendState describe_backend(std::int32_t index, const std::string &folder) {
    Registry &all = registry();
    std::lock_guard lock(all.mutex);
    return resolve(all, index, folder);
}

const speft_backend_table &choose_backend(const std::string &name, const std::string &folder) {
    Registry &all = registry();
    std::lock_guard lock(all.mutex);
    const speft_backend_table *best = nullptr;
    std::string reasons;
    std::int32_t best_score = 0;
    for (std::int32_t index = 0; index < backend_count; ++index) {
        if (name != "auto" && name != backend_names[index]) continue;
        const BackendState &state = resolve(all, index, folder);
        if (!state.table) {
            const std::string which = name == "auto" ? std::string(state.name) + ": " : "";
            reasons += (reasons.empty() ? "" : "; ") + which + state.reason;
            continue;
        }
        const char *why = nullptr;
        const std::int32_t score = state.table->score(&why);
        if (score > best_score) {
            best = state.table;
            best_score = score;
        }
    }
    if (best) return *best;
    if (reasons.empty()) reasons = "this release knows cpu and cuda";
    throw Failure(SPEFT_UNAVAILABLE, "backend '" + name + "' is not available: " + reasons);
}

}  // namespace speft
