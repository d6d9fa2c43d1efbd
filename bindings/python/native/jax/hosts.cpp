#include "hosts.h"

#include <unordered_map>

#include "exports.h"

namespace speft::jax {

namespace {

struct Registry {
    std::mutex mutex;
    std::unordered_map<uint32_t, std::shared_ptr<Host>> hosts;
    uint32_t next = 1;
};

// Never destroyed: XLA's threads may run when the process ends.
Registry &registry() {
    static auto *const all = new Registry;
    return *all;
}

} // namespace

std::shared_ptr<Host> find_host(uint32_t number) {
    Registry &all = registry();
    const std::lock_guard lock(all.mutex);
    const auto found = all.hosts.find(number);
    return found == all.hosts.end() ? nullptr : found->second;
}

} // namespace speft::jax

using speft::jax::find_host;
using speft::jax::Host;
using speft::jax::registry;

uint32_t speft_jax_open(speft_adapter *adapter) try {
    auto host = std::make_shared<Host>();
    host->adapter = adapter;
    speft::jax::Registry &all = registry();
    const std::lock_guard lock(all.mutex);
    while (all.next == 0 || all.hosts.count(all.next) != 0) ++all.next;
    all.hosts.emplace(all.next, std::move(host));
    return all.next++;
} catch (const std::bad_alloc &) {
    return 0;
}

void speft_jax_close(uint32_t number) {
    const auto host = find_host(number);
    if (!host) return;
    {
        const std::lock_guard turn(host->turn);
        host->adapter = nullptr;
    }
    speft::jax::Registry &all = registry();
    const std::lock_guard lock(all.mutex);
    all.hosts.erase(number);
}

void speft_jax_begin(uint32_t number) {
    if (const auto host = find_host(number)) host->turn.lock();
}

void speft_jax_end(uint32_t number) {
    if (const auto host = find_host(number)) host->turn.unlock();
}

int64_t speft_jax_take_moves(uint32_t number, int64_t *moves, int64_t room) {
    const auto host = find_host(number);
    if (!host) return 0;
    const std::lock_guard turn(host->turn);
    const auto count = static_cast<int64_t>(host->moves.size());
    if (count > room) return count;
    for (const auto &[moved, selected] : host->moves) {
        *moves++ = moved.step;
        *moves++ = moved.dropped;
        *moves++ = moved.grown;
        *moves++ = moved.settled;
        *moves++ = selected;
    }
    host->moves.clear();
    return count;
}

int32_t speft_jax_set_basis(uint32_t number, int64_t parameter, speft_basis *basis) try {
    const auto host = find_host(number);
    if (!host) return 1;
    const std::lock_guard turn(host->turn);
    if (basis)
        host->bases.insert_or_assign(parameter, speft::jax::Observed{basis, false});
    else
        host->bases.erase(parameter);
    return 1;
} catch (const std::bad_alloc &) {
    return 0;
}

int32_t speft_jax_take_arrival(uint32_t number, int64_t parameter) {
    const auto host = find_host(number);
    if (!host) return 0;
    const std::lock_guard turn(host->turn);
    const auto found = host->bases.find(parameter);
    if (found == host->bases.end() || !found->second.arrived) return 0;
    found->second.arrived = false;
    return 1;
}
