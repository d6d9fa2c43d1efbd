/* How the selected scalars move.
 *
 * AdamW on a delta φ with gradient g, float32, one rounding an operation, in this order (Loshchilov and Hutter 2019;
 * lr·λ, 1−β and the bias corrections c1 = 1/(1−β1^a) and c2 = 1/√(1−β2^a) are computed in float64 and rounded once):
 *
 *     φ = φ − (lr·λ)·φ            decay toward θ0; toward zero: φ − (lr·λ)·θ, θ the merged weight
 *     m = β1·m + (1−β1)·g
 *     v = β2·v + ((1−β2)·g)·g
 *     φ = φ − ((lr·c1)·m) / (√v·c2 + ε)
 *     θ = round(θ0 + φ)           in the weight's own type
 *
 * a is the number of updates, of the parameter or of the weight.
 *
 * SGD with momentum μ and velocity b, b = 0 before the first update (torch.optim.SGD without dampening):
 *
 *     g = g + λ·φ                 decay toward θ0; toward zero: g + λ·θ
 *     b = μ·b + g
 *     φ = φ − lr·b
 *     θ = round(θ0 + φ) */
#ifndef SPEFT_OPTIMIZER_H
#define SPEFT_OPTIMIZER_H

#include <stdint.h>

#include "export.h"

SPEFT_BEGIN_DECLS

/* `speft_optimizer_options.kind`; the numbers are part of the file format. */
enum {
    SPEFT_OPTIMIZER_ADAMW = 1,
    SPEFT_OPTIMIZER_SGD = 2,
    /* UNSUPPORTED in this version, from here on. */
    SPEFT_OPTIMIZER_SM3 = 3,
    SPEFT_OPTIMIZER_LION = 4,
    SPEFT_OPTIMIZER_ADAFACTOR = 5
};

/* `speft_optimizer_options.age` */
enum {
    /* One count of updates for each parameter. */
    SPEFT_AGE_COMMON = 0,
    /* One for each weight: what masks that move need. 4 bytes a weight. */
    SPEFT_AGE_PER_WEIGHT = 1
};

/* `speft_hyperparameters.decay` */
enum {
    /* Weight decay pulls the delta to 0, and the weight to its pretrained value. */
    SPEFT_DECAY_TO_ORIGINAL = 0,
    /* Weight decay pulls the weight itself to 0, as torch.optim.AdamW does. */
    SPEFT_DECAY_TO_ZERO = 1
};

/* Fixed when the adapter is created: it decides which state there is. */
typedef struct speft_optimizer_options {
    uint32_t struct_size;
    int32_t kind;
    int32_t age;
    /* The moments' type: 0 for float32; others are UNSUPPORTED in this version. */
    int32_t state;
} speft_optimizer_options;

/* Defaults: ADAMW, COMMON, float32. */
SPEFT_API void speft_optimizer_options_init(speft_optimizer_options *options, uint32_t size);

/* May differ at each step, and between groups of parameters (`speft_parameter.group`). */
typedef struct speft_hyperparameters {
    uint32_t struct_size;
    int32_t decay;
    double learning_rate;
    double beta1;
    double beta2;
    double epsilon;
    double weight_decay;
    /* SGD's μ, in [0, 1). Its velocity takes memory from the first step with a momentum above 0 on. */
    double momentum;
} speft_hyperparameters;

/* Defaults: lr 1e-3, betas 0.9 and 0.999, ε 1e-8, no decay. */
SPEFT_API void speft_hyperparameters_init(speft_hyperparameters *hyperparameters, uint32_t size);

SPEFT_END_DECLS

#endif
