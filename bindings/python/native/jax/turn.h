// A handler's turn on an adapter.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "failure.h"
#include "hosts.h"

namespace speft::jax {

class Turn {
public:
    // Refuses an adapter that is closed, and any device but the first: a program that is spread over several runs its
    // handlers once on each, and a step must not be taken twice.
    Turn(uint32_t number, int32_t device) : host_(find_host(number)) {
        if (device != 0) {
            throw Failure(SPEFT_UNSUPPORTED, "an adapter trains arrays of JAX's first CPU device alone; this program "
                                             "runs on device " + std::to_string(device) + " too: arrays must not be "
                                             "sharded or replicated");
        }
        if (host_) lock_ = std::unique_lock(host_->turn);
        if (!host_ || !host_->adapter) throw Failure(SPEFT_INVALID_STATE, "the adapter has been closed");
    }

    speft_adapter *adapter() const { return host_->adapter; }
    Host &host() const { return *host_; }

    // Refuses where no tree of the host has the weights that the adapter thinks it has.
    void require_weights() const {
        if (host_->weights_lost) {
            throw Failure(SPEFT_INVALID_STATE, "a step has failed after scalars had left the mask (settled_limit), and "
                                               "the tree with their original weights is lost: save_checkpoint() now, "
                                               "and load that with the original weights");
        }
    }

    speft_adapter_state state() const {
        speft_adapter_state state{};
        state.struct_size = sizeof state;
        check([&](auto **error) { return speft_get_adapter_state(adapter(), &state, error); });
        return state;
    }

private:
    std::shared_ptr<Host> host_; // before the lock, which is in it
    std::unique_lock<std::recursive_mutex> lock_;
};

} // namespace speft::jax
