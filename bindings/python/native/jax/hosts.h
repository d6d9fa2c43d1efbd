// The adapters that XLA programs may call, by number: a compiled program outlives the adapters that it was made for, so
// it gets a number as an argument, never an address.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "speft/speft.h"

namespace speft::jax {

struct Move {
    speft_reselection moved;
    int64_t selected; // scalars, after it
};

// A basis that gradients are observed in before the adapter trains in it.
struct Observed {
    speft_basis *basis;
    bool arrived; // a gradient, since the host asked last
};

struct Host {
    // One call after the other: XLA runs independent parts of a program, and programs, side by side, and Python calls
    // in between. Recursive, so that a callback that calls back in gets BUSY from the library and does not wait for
    // itself.
    std::recursive_mutex turn;
    speft_adapter *adapter = nullptr; // NULL once the host has closed it
    std::vector<Move> moves;          // those that steps have made, for Python to collect
    std::unordered_map<int64_t, Observed> bases; // by parameter
    bool weights_lost = false;        // a failed step had given weights back, in a tree that nobody got
};

// NULL when there is none of this number any more.
std::shared_ptr<Host> find_host(uint32_t number);

} // namespace speft::jax
