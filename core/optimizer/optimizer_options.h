// How deltas move, checked by value.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/scalar_type.h"
#include "core/selection/selection_options.h"
#include "speft/optimizer.h"

namespace speft {

struct OptimizerOptions {
    std::int32_t kind = SPEFT_OPTIMIZER_ADAMW;
    std::int32_t age = SPEFT_AGE_COMMON;
    std::int32_t state = SPEFT_STATE_FLOAT32;
    // Of masks that are selected by each step: what has no gradient does not move. No part of a file.
    bool lazy = false;
};

struct Hyperparameters {
    std::int32_t decay = SPEFT_DECAY_TO_ORIGINAL;
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
    double momentum = 0;
};

// Throw INVALID_ARGUMENT for values without a meaning. `what` names the struct.
void check_optimizer(const OptimizerOptions &options);
void check_hyperparameters(const Hyperparameters &hyperparameters, const std::string &what);
// Throws unless masks of this selection can be trained by this optimizer, with deltas of this type.
void check_pairing(const SelectionOptions &selection, const OptimizerOptions &optimizer, ScalarType delta_type);

}  // namespace speft
