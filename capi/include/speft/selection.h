/* Which scalars are trained: the options of the selection, observing saliences, and choosing the masks.
 *
 *     observe, observe, … finish_observation      once a batch, where the method needs gradients
 *     select                                      the masks are there; training can begin
 *
 * Rules of every selection: the larger score first, then the smaller parameter number, then the smaller index. NaN
 * is never selected, +inf is. Scores are float32 with one rounding an operation, denormals kept, -0 = +0. The same
 * inputs give the same masks on every backend and any number of threads. */
#ifndef SPEFT_SELECTION_H
#define SPEFT_SELECTION_H

#include <stdint.h>

#include "adapter.h"
#include "context.h"
#include "error.h"
#include "export.h"
#include "gradient.h"
#include "tensor.h"

SPEFT_BEGIN_DECLS

/* `speft_selection_options.method`. The numbers are part of the file format and never reused.
 * g is the mean gradient over the observations, Σ w g / Σ w; θ the weight. */
enum {
    /* Every scalar with the same probability, from the seed and the parameter's name. SpaRTA. */
    SPEFT_SELECT_RANDOM = 1,
    /* |θ| */
    SPEFT_SELECT_MAGNITUDE = 2,
    /* |g|: salience SPEFT, table 1, "gradient". */
    SPEFT_SELECT_GRADIENT = 3,
    /* |g θ|: "SNIP". */
    SPEFT_SELECT_SNIP = 4,
    /* The masks are given with `speft_set_mask`. */
    SPEFT_SELECT_GIVEN_MASK = 5,
    /* The scores are given with `speft_set_scores`; the largest are selected. */
    SPEFT_SELECT_GIVEN_SCORES = 6,
    /* UNSUPPORTED in this version, from here on. */
    SPEFT_SELECT_FORCE = 7,
    SPEFT_SELECT_TAYLOR_FO = 8,
    SPEFT_SELECT_FISHER = 9,
    SPEFT_SELECT_SYNFLOW = 10,
    SPEFT_SELECT_GRASP = 11,
    SPEFT_SELECT_GRASP_CODE = 12,
    SPEFT_SELECT_WEIGHT_CHANGE = 13,
    SPEFT_SELECT_LOW_RANK = 14,
    SPEFT_SELECT_WANDA = 15,
    SPEFT_SELECT_SPIEL_AG = 16,
    SPEFT_SELECT_SPIEL_MA = 17,
    SPEFT_SELECT_SPARSEGRAD = 18,
    SPEFT_SELECT_MEPROP = 19
};

/* `speft_selection_options.scope` */
enum {
    /* One ranking over all sparse parameters. Random masks: the budget is shared out in proportion to the sizes, by
     * largest remainder. */
    SPEFT_SCOPE_GLOBAL = 0,
    /* The same density for each. */
    SPEFT_SCOPE_PER_TENSOR = 1,
    /* The same density for each row: each index of a parameter's first axis. Parameters of 2 axes or more. */
    SPEFT_SCOPE_PER_ROW = 2
};

/* `speft_selection_options.random` */
enum {
    /* Exactly k of N, without replacement. */
    SPEFT_RANDOM_EXACT = 0,
    /* Each scalar by itself with probability `density`: k varies. A draw that selects none at all is refused
     * (INVALID_ARGUMENT). */
    SPEFT_RANDOM_BERNOULLI = 1
};

/* How masks move while training. UNSUPPORTED in this version unless all zero. */
typedef struct speft_schedule_options {
    uint32_t struct_size;
    /* linear 1, cosine 2, constant 3, none 4 */
    int32_t schedule;
    int64_t total_steps;    /* T; 0: the rate stays */
    int64_t reselect_every; /* S of SpIEL, I of dynamic masks */
    int64_t window;         /* γ */
    double rate;            /* ξ */
    int64_t candidates;     /* K; 0: k */
    int32_t drop;           /* magnitude 0, change 1 */
    int32_t keep_moments;
} speft_schedule_options;

typedef struct speft_selection_options {
    uint32_t struct_size;
    int32_t method;
    int32_t scope;
    int32_t random;
    /* Selected scalars over all scalars of the sparse parameters, in (0, 1]: k = ⌊density·N + 1e-6⌋, at least 1; of
     * all together under the global scope, of each under per-tensor, of each row under per-row. Exactly one of
     * `density`, `budget` and `rank` is set, but for given masks, which need none. */
    double density;
    /* k itself: of all together under the global scope, of each under per-tensor, of each row under per-row. */
    int64_t budget;
    /* For random masks. */
    uint64_t seed;
    /* NULL: the masks stay. */
    const speft_schedule_options *schedule;
    /* As many scalars as low-rank factors of this rank would have: rank·(rows + columns) for each parameter, whose
     * first axis are the rows; their sum under the global scope. Not with per-row. */
    int64_t rank;
    /* Above 0: `density` is a fraction of this many scalars, those of the whole model say, frozen ones included.
     * Density·model_scalars must not be more than the sparse parameters have. */
    int64_t model_scalars;
} speft_selection_options;

/* Defaults: GRADIENT, GLOBAL, EXACT; density, budget and rank are left 0 for the caller to choose. */
SPEFT_API void speft_selection_options_init(speft_selection_options *options, uint32_t size);
SPEFT_API void speft_schedule_options_init(speft_schedule_options *options, uint32_t size);

/* Announces the weight w > 0 of the batch whose gradients follow: its number of examples, say; 1 for equal batches.
 * Optional: an announced batch is added to the mean as it arrives, one float32 accumulator a sparse parameter; one
 * that is not needs a second accumulator until `speft_finish_observation` tells its weight.
 * INVALID_STATE after `speft_select`, or when a batch is open. */
SPEFT_API speft_status speft_begin_observation(speft_adapter *adapter, double weight, speft_error **error);

/* Adds `gradient` to what parameter `parameter` has received in this batch. Accepted and dropped where the method
 * needs no gradients; ignored for dense parameters. A gradient of 0 tokens counts as received. VALUES are refused:
 * there is no mask yet. INVALID_STATE after `speft_select`. */
SPEFT_API speft_status speft_observe(speft_adapter *adapter, int64_t parameter, const speft_gradient *gradient,
                                     speft_error **error);

/* Closes the batch. `weight` is w, or 0 for the announced one; another than the announced one is refused.
 * INVALID_STATE when a sparse parameter received nothing in this batch; the message names it, and the batch stays
 * open. */
SPEFT_API speft_status speft_finish_observation(speft_adapter *adapter, double weight, speft_error **error);

/* Forgets all that was observed, an open batch included: after a backward pass that failed half-way, say.
 * INVALID_STATE after `speft_select`. */
SPEFT_API speft_status speft_clear_observations(speft_adapter *adapter, speft_error **error);

/* For GIVEN_MASK: strictly increasing flat indices into the whole parameter, int64 [k], k >= 0, in host memory.
 * Copied. INVALID_STATE after `speft_select`. */
SPEFT_API speft_status speft_set_mask(speft_adapter *adapter, int64_t parameter, const speft_tensor *indices,
                                      speft_error **error);

/* For GIVEN_SCORES: float32, shape of the parameter, on the context's device. Copied. INVALID_STATE after
 * `speft_select`. */
SPEFT_API speft_status speft_set_scores(speft_adapter *adapter, int64_t parameter, const speft_tensor *scores,
                                        speft_error **error);

/* Chooses the masks, sets every delta to 0, and frees what the observation needed. The weights of all parameters
 * must be bound: their selected bits are kept, and from here on they equal round(θ0+δ). On failure the observations
 * are still there and no mask is.
 * INVALID_STATE: already selected; no observation where the method needs one; a batch is open; weights are not
 * bound, or another adapter is merged into the same memory. INVALID_ARGUMENT: fewer scalars can be selected (scores
 * that are not NaN) than the budget asks for. `progress` may be NULL. */
SPEFT_API speft_status speft_select(speft_adapter *adapter, const speft_progress *progress, speft_error **error);

/* What a reselection moved. */
typedef struct speft_reselection {
    uint32_t struct_size;
    int64_t step;
    int64_t dropped;
    int64_t grown;
    int64_t settled;
} speft_reselection;

/* Chooses again while training. To be called after every step: it does nothing when no reselection is due. `moved` may
 * be NULL. UNSUPPORTED in this version. */
SPEFT_API speft_status speft_reselect(speft_adapter *adapter, const speft_progress *progress,
                                      speft_reselection *moved, speft_error **error);

SPEFT_END_DECLS

#endif
