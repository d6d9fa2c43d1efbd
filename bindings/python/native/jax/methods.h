// What a program has to know of a selection method: when its masks move.
#pragma once

#include <cstdint>

#include "speft/speft.h"

namespace speft::jax {

// Methods whose masks move between steps, without another look at gradients.
inline bool needs_no_observation(int32_t method) {
    switch (method) {
    case SPEFT_SELECT_RANDOM:
    case SPEFT_SELECT_MAGNITUDE:
    case SPEFT_SELECT_SMALLEST_MAGNITUDE:
    case SPEFT_SELECT_LOW_RANK:
    case SPEFT_SELECT_SPIEL_AG:
    case SPEFT_SELECT_SPIEL_MA: return true;
    default: return false;
    }
}

// Methods whose masks move within a step, by its own gradient: from the first contribution on a reselection is due.
inline bool selects_by_step(int32_t method) {
    return method == SPEFT_SELECT_MEPROP || method == SPEFT_SELECT_SPARSEGRAD;
}

} // namespace speft::jax
