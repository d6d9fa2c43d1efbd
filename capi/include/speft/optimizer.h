/* How the selected scalars move: φ is a delta (of a dense parameter the value itself), g its gradient, float32 with one
 * rounding an operation, in the order that is written here. lr·λ, 1−β and bias corrections are computed in float64 and
 * rounded once. a is the age: the number of updates, of the parameter or of the weight. After every update
 * θ = round(θ0 + φ), in the weight's own type.
 *
 * Decay toward θ0 is of φ, toward zero of θ, the merged weight; the formulas call it d. It comes first, but with
 * SPEFT_DECAY_AFTER_UPDATE last: φ = φ − (lr·λ)·φ.
 *
 * Moments and velocities are float32 in an update, and rounded to what they are kept in after it.
 *
 * AdamW (Loshchilov and Hutter 2019); c1 = 1/(1−β1^a), c2 = 1/√(1−β2^a):
 *
 *     φ = φ − (lr·λ)·d
 *     m = β1·m + (1−β1)·g
 *     v = β2·v + ((1−β2)·g)·g
 *     φ = φ − ((lr·c1)·m) / (√v·c2 + ε)
 *
 * Adam (Kingma and Ba 2015) is the same but for decay, which is added to the gradient: g = g + λ·d.
 *
 * SGD with momentum μ and velocity b, b = 0 before the first update (torch.optim.SGD without dampening):
 *
 *     g = g + λ·d
 *     b = μ·b + g
 *     φ = φ − lr·b
 *
 * Lion (Chen et al. 2023, algorithm 2):
 *
 *     φ = φ − (lr·λ)·d
 *     φ = φ − lr·sign(β1·m + (1−β1)·g)          sign(0) = 0, and NaN of NaN
 *     m = β2·m + (1−β2)·g
 *
 * SM3 (Anil et al. 2019, SM3-I), one r a row and one c a column of a parameter of 2 axes or more, whose first axis are
 * the rows; where a row is one scalar, r alone. All ν are computed before any r or c moves; r and c never fall:
 *
 *     φ = φ − (lr·λ)·d
 *     ν = min(r_i, c_j) + g·g
 *     φ = φ − lr·(g/√ν)                         0 in place of g/√ν where ν = 0
 *     r_i = max(r_i, ν of the selected scalars of row i), c_j likewise
 *
 * A ν that is NaN makes its own weight NaN, as every NaN gradient does, and leaves r and c as they are.
 *
 * Adafactor (Shazeer and Stern 2018) with factored second moments on the selected scalars and a learning rate of the
 * host's; t the parameter's number of updates, β = 1 − t^−0.8, ε1 = 1e-30, and u scaled down to a root mean square of
 * 1:
 *
 *     φ = φ − (lr·λ)·d
 *     r_i = β·r_i + (1−β)·mean(g² + ε1 over the selected scalars of row i), c_j likewise
 *     u = g / √((r_i/s)·c_j)                    s = the mean of r_i over the selected scalars
 *     φ = φ − lr·(u / max(1, RMS(u)))
 *
 * The means, s and RMS(u) = √mean(u²) are computed in float64 and rounded once: products exactly, sums in any order
 * that does not depend on threads. Where a row is one scalar, r_i = β·r_i + (1−β)·(g² + ε1), and u = g/√r_i.
 * The larger of 1 and NaN is NaN: a NaN gradient makes its whole parameter NaN.
 *
 * A row or column without a selected scalar keeps what it has. */
#ifndef SPEFT_OPTIMIZER_H
#define SPEFT_OPTIMIZER_H

#include <stdint.h>

#include "export.h"

SPEFT_BEGIN_DECLS

/* `speft_optimizer_options.kind`; the numbers are part of the file format. */
enum {
    SPEFT_OPTIMIZER_ADAMW = 1,
    SPEFT_OPTIMIZER_SGD = 2,
    SPEFT_OPTIMIZER_SM3 = 3,
    SPEFT_OPTIMIZER_LION = 4,
    SPEFT_OPTIMIZER_ADAFACTOR = 5,
    SPEFT_OPTIMIZER_ADAM = 6
};

/* `speft_optimizer_options.age`, of AdamW and Adam. */
enum {
    /* One count of updates for each parameter. */
    SPEFT_AGE_COMMON = 0,
    /* One for each weight, as masks that move need it, which set it by themselves: 2 bytes a weight, since weights that
     * came together are as old. */
    SPEFT_AGE_PER_WEIGHT = 1
};

/* `speft_optimizer_options.state`: how moments and velocities are kept; sums are float32 always. */
enum {
    SPEFT_STATE_FLOAT32 = 0,
    /* Half the memory, rounded up or down at random (from the seed, the parameter's name and the number of the step),
     * so that small updates are kept on average; the same inputs give the same bits. */
    SPEFT_STATE_BFLOAT16 = 1,
    /* A byte and a sixteenth: codes whose steps are finer near 0, in blocks of 64 with a scale each (Dettmers et al.
     * 2022, dynamic tree quantization). Rounded to nearest. A NaN or an infinity makes its whole block NaN. */
    SPEFT_STATE_BLOCKS8 = 2
};

/* `speft_hyperparameters.decay` */
enum {
    /* Weight decay pulls the delta to 0, and the weight to its pretrained value. */
    SPEFT_DECAY_TO_ORIGINAL = 0,
    /* Weight decay pulls the weight itself to 0, as torch.optim.AdamW does. */
    SPEFT_DECAY_TO_ZERO = 1,
    /* To the pretrained value, decoupled, after the update: as SpIEL does. With any optimizer. */
    SPEFT_DECAY_AFTER_UPDATE = 2
};

/* Fixed when the adapter is created: it decides which state there is. */
typedef struct speft_optimizer_options {
    uint32_t struct_size;
    int32_t kind;
    int32_t age;
    int32_t state; /* SPEFT_STATE_… of AdamW's, Adam's and Lion's moments and SGD's velocity */
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
