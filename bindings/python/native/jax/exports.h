// What the module exports: its handlers, for XLA, and these, for `speft.jax`. Nothing here needs Python's lock.
#pragma once

#include <stdint.h>

#include "speft/adapter.h"
#include "speft/basis.h"

#define SPEFT_JAX_EXPORT __attribute__((visibility("default")))

extern "C" {

// A number for an adapter, to be closed before the adapter is destroyed; 0: out of memory.
SPEFT_JAX_EXPORT uint32_t speft_jax_open(speft_adapter *adapter);
// Waits for what runs. Programs that come later are refused.
SPEFT_JAX_EXPORT void speft_jax_close(uint32_t number);

// Keeps programs out while Python calls libspeft itself. On one thread, in pairs; the number is open until the end.
SPEFT_JAX_EXPORT void speft_jax_begin(uint32_t number);
SPEFT_JAX_EXPORT void speft_jax_end(uint32_t number);

// How many reselections steps have made since the last call. Where there is `room` for so many, their (step, dropped,
// grown, settled, selected) are written and forgotten.
SPEFT_JAX_EXPORT int64_t speft_jax_take_moves(uint32_t number, int64_t *moves, int64_t room);

// Sends gradients of a parameter to `basis`, which has to live until it is unset by NULL, in place of the adapter. 0:
// out of memory.
SPEFT_JAX_EXPORT int32_t speft_jax_set_basis(uint32_t number, int64_t parameter, speft_basis *basis);
// 1: a gradient has reached the basis since the last call.
SPEFT_JAX_EXPORT int32_t speft_jax_take_arrival(uint32_t number, int64_t parameter);

} // extern "C"
