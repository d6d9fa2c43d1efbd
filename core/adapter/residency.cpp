#include "core/adapter/residency.h"

#include <map>
#include <mutex>

#include "core/base/status.h"

namespace speft {
namespace {

struct Range {
    std::uintptr_t begin, end;
    std::string parameter;
};

// Never destroyed: an adapter may be released by a finalizer after main.
struct Residency {
    std::mutex mutex;
    std::uint64_t next = 1;
    std::map<std::uint64_t, Range> claims;
};

Residency &residency() {
    static Residency &instance = *new Residency;
    return instance;
}

}  // namespace

Claim::Claim(const void *memory, std::uint64_t bytes, const std::string &parameter, const Claim *except) {
    if (bytes == 0) return;
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    Residency &all = residency();
    std::lock_guard lock(all.mutex);
    for (const auto &[ticket, range] : all.claims) {
        if (begin >= range.end || range.begin >= begin + bytes || (except && ticket == except->ticket_)) continue;
        refuse_state("the weights of '" + parameter + "' overlap memory that an adapter is merged into already (as '" +
                     range.parameter + "'): unmerge that one first, or declare a shared parameter once");
    }
    all.claims.emplace(all.next, Range{begin, begin + bytes, parameter});
    ticket_ = all.next++;
}

Claim::~Claim() {
    if (ticket_ == 0) return;
    Residency &all = residency();
    std::lock_guard lock(all.mutex);
    all.claims.erase(ticket_);
}

}  // namespace speft
