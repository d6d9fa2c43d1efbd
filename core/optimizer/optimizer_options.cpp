#include "core/optimizer/optimizer_options.h"

#include <cmath>

#include "core/base/status.h"

namespace speft {
namespace {

void check_not_negative(double value, const std::string &what) {
    if (!(value >= 0) || !std::isfinite(value))
        refuse(what + " must be finite and 0 or more; got " + std::to_string(value));
}

void check_beta(double value, const std::string &what) {
    if (!(value >= 0 && value < 1)) refuse(what + " must be in [0, 1); got " + std::to_string(value));
}

}  // namespace

void check_optimizer(const OptimizerOptions &options) {
    if (options.kind < SPEFT_OPTIMIZER_ADAMW || options.kind > SPEFT_OPTIMIZER_ADAM)
        refuse("optimizer options: kind must be one of SPEFT_OPTIMIZER_…; got " + std::to_string(options.kind));
    if (options.age != SPEFT_AGE_COMMON && options.age != SPEFT_AGE_PER_WEIGHT)
        refuse("optimizer options: age must be SPEFT_AGE_COMMON or SPEFT_AGE_PER_WEIGHT; got " +
               std::to_string(options.age));
    if (options.state < SPEFT_STATE_FLOAT32 || options.state > SPEFT_STATE_BLOCKS8)
        refuse("optimizer options: state must be one of SPEFT_STATE_…; got " + std::to_string(options.state));
}

void check_hyperparameters(const Hyperparameters &hyperparameters, const std::string &what) {
    if (hyperparameters.decay < SPEFT_DECAY_TO_ORIGINAL || hyperparameters.decay > SPEFT_DECAY_AFTER_UPDATE)
        refuse(what + ": decay must be one of SPEFT_DECAY_…; got " + std::to_string(hyperparameters.decay));
    check_not_negative(hyperparameters.learning_rate, what + ": learning_rate");
    check_beta(hyperparameters.beta1, what + ": beta1");
    check_beta(hyperparameters.beta2, what + ": beta2");
    check_not_negative(hyperparameters.epsilon, what + ": epsilon");
    check_not_negative(hyperparameters.weight_decay, what + ": weight_decay");
    if (!(hyperparameters.momentum >= 0 && hyperparameters.momentum < 1))
        refuse(what + ": momentum must be in [0, 1); got " + std::to_string(hyperparameters.momentum));
}

}  // namespace speft
