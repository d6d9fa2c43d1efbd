#include "core/optimizer/optimizer_options.h"

#include <cmath>

#include "core/base/status.h"
#include "core/selection/method_name.h"

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

void check_pairing(const SelectionOptions &selection, const OptimizerOptions &optimizer, ScalarType delta_type) {
    const std::int32_t kind = optimizer.kind;
    if (selects_by_step(selection)) {
        const std::string name = get_method_name(selection.method);
        if (kind != SPEFT_OPTIMIZER_ADAMW && kind != SPEFT_OPTIMIZER_ADAM)
            refuse("optimizer options: " + name + " selects at each step, for which AdamW and Adam are lazy: kind must "
                   "be SPEFT_OPTIMIZER_ADAMW or _ADAM; got " + std::to_string(kind));
        if (optimizer.state == SPEFT_STATE_BLOCKS8)
            refuse("optimizer options: " + name + " selects at each step, and moments of 8 bits would be rounded at "
                   "each: state must be SPEFT_STATE_FLOAT32 or _BFLOAT16");
    }
    if (selection.method == SPEFT_SELECT_SPARSEGRAD) {
        if (delta_type != ScalarType::float32)
            refuse("adapter options: deltas in a basis are float32: delta_type must be SPEFT_DELTA_FLOAT32");
        if (kind == SPEFT_OPTIMIZER_SM3 || kind == SPEFT_OPTIMIZER_ADAFACTOR)
            refuse_unsupported("optimizer options: moments of rows and columns are not kept in a basis: kind must be "
                               "another than " + std::to_string(kind));
    }
    if (selection.method == SPEFT_SELECT_SPIEL_MA && kind != SPEFT_OPTIMIZER_SM3)
        refuse("optimizer options: spiel-ma grows by the second moments of SM3: kind must be SPEFT_OPTIMIZER_SM3; "
               "got " + std::to_string(kind));
}

}  // namespace speft
