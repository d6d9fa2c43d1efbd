/* Which scalars are trained: the options of the selection, observing saliences, choosing the masks, and choosing them
 * again while training.
 *
 *     observe, observe, … finish_observation      once a batch, where the method needs it
 *     select                                      the masks are there; training can begin
 *     step, reselect, step, reselect, …           where masks move: reselect does nothing until one is due
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
 * θ is the weight; g the mean of what was observed, Σ w g / Σ w. Sources: "salience SPEFT" is Liu et al. 2024,
 * table 1. */
enum {
    /* Every scalar with the same probability, from the seed and the parameter's name. SpaRTA. */
    SPEFT_SELECT_RANDOM = 1,
    /* |θ| */
    SPEFT_SELECT_MAGNITUDE = 2,
    /* |g|: salience SPEFT, "gradient". */
    SPEFT_SELECT_GRADIENT = 3,
    /* |g θ|: "SNIP". */
    SPEFT_SELECT_SNIP = 4,
    /* The masks are given with `speft_set_mask`. */
    SPEFT_SELECT_GIVEN_MASK = 5,
    /* The scores are given with `speft_set_scores`; the largest are selected. */
    SPEFT_SELECT_GIVEN_SCORES = 6,
    /* −g θ: "FORCE". */
    SPEFT_SELECT_FORCE = 7,
    /* (g θ)²: "Taylor-FO". Ranked by |g θ|, which ranks alike and does not underflow. */
    SPEFT_SELECT_TAYLOR_FO = 8,
    /* Σ w g² / Σ w with g the gradient of one observation: exact per-example Fisher information with batches of one, or
     * from activations with `speft_gradient.example_offsets` at any batch size. Else that of batch gradients. */
    SPEFT_SELECT_FISHER = 9,
    /* g |θ|, where the host observes g = ∂R/∂|θ|, R the sum of the outputs of the network with all weights replaced by
     * their absolute values and its non-linearities taken out: "SynFlow". Such a g is 0 or more; ranked by |g θ|. */
    SPEFT_SELECT_SYNFLOW = 10,
    /* −(H ḡ) θ, where the host observes Hessian-vector products with its mean gradient ḡ in the place of gradients:
     * "GRaSP", with the paper's sign. */
    SPEFT_SELECT_GRASP = 11,
    /* (H ḡ) θ: the sign of the public code, and of the original GRaSP. */
    SPEFT_SELECT_GRASP_CODE = 12,
    /* |θ − θ0|, θ0 given with `speft_set_reference`: LT-SFT (Ansell et al. 2022). Selecting writes θ0 back into all
     * sparse parameters; the deltas start at 0. */
    SPEFT_SELECT_WEIGHT_CHANGE = 13,
    /* |entry| of the best approximation of the weight matrix of rank `approximation_rank`: LIFT (Liu et al. 2025).
     * Parameters of 2 axes or more; the first are the rows. */
    SPEFT_SELECT_LOW_RANK = 14,
    /* |θ| ‖x‖, x the input feature that the weight multiplies, over all observed tokens: Wanda (Sun et al. 2024).
     * From ACTIVATIONS only, of which `dy` may be NULL. */
    SPEFT_SELECT_WANDA = 15,
    /* Masks that move by accumulated gradients: SpIEL-AG (Ansell et al. 2024). Starts from a random mask. */
    SPEFT_SELECT_SPIEL_AG = 16,
    /* Masks that move by the second moments of SM3, which it requires: SpIEL-MA. Starts from a random mask. */
    SPEFT_SELECT_SPIEL_MA = 17,
    /* The largest |V dW Uᵀ| of each step's own gradient, in a basis (basis.h): SparseGrad (Chekalina et al. 2024). */
    SPEFT_SELECT_SPARSEGRAD = 18,
    /* The largest |g| of each step's own gradient: the same without a basis, after MeProp (Sun et al. 2017). */
    SPEFT_SELECT_MEPROP = 19,
    /* −|θ| */
    SPEFT_SELECT_SMALLEST_MAGNITUDE = 20,
    /* What `speft_selection_options.score` computes. */
    SPEFT_SELECT_SCORE_FUNCTION = 21
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

/* `speft_selection_options.mean` */
enum {
    /* Of signed gradients, the absolute value after it: the public code of salience SPEFT. */
    SPEFT_MEAN_SIGNED = 0,
    /* Σ w |g| / Σ w, for GRADIENT and SNIP: as the paper prints SNIP. */
    SPEFT_MEAN_OF_ABSOLUTES = 1
};

/* `speft_schedule_options.schedule`: how many of the k selected scalars SpIEL replaces at step t. It is all k at t = γ,
 * the first time, and afterwards: */
enum {
    SPEFT_SCHEDULE_DEFAULT = 0,  /* LINEAR where there are total_steps, else CONSTANT */
    SPEFT_SCHEDULE_LINEAR = 1,   /* ⌊k·ξ·(T−t)/T⌋, exactly */
    SPEFT_SCHEDULE_COSINE = 2,   /* ⌊k·ξ/2·(1 + cos(π t/T))⌋ */
    SPEFT_SCHEDULE_CONSTANT = 3, /* ⌊k·ξ⌋ */
    SPEFT_SCHEDULE_NONE = 4      /* none: the masks of t = γ stay */
};

/* `speft_schedule_options.drop` */
enum {
    SPEFT_DROP_MAGNITUDE = 0, /* the least |φ| */
    /* the least |φ − φ0|, φ0 = φ after the last reselection: SpIEL, algorithm 1. 4 bytes a weight */
    SPEFT_DROP_CHANGE = 1
};

/* How masks move while training. Counted in steps t = 1, 2, …; nothing moves at or after T.
 *
 * SpIEL: a reselection is due after step t = γ + n·S, n = 0, 1, …: the q of the schedule with the least |φ| are dropped
 * and regain the bits of θ0, and q others grow with φ = 0.
 *   AG: the window is the γ steps up to it. Its first step fixes K candidates: the largest |g| among the scalars that
 * are not selected, g the gradient of that whole step, scaled and clipped as it was. The mean gradient ḡ of each over
 * the window ranks them by |ḡ|. The grown start at age γ with the moments that a bias-corrected mean over the window
 * gives: m = (1−β1^γ)·ḡ and v = (1−β2^γ)·Σg²/γ. From activations the first step's x and dy are copied until
 * `speft_step`, and no dense gradient is formed; dense gradients are added up over that one step.
 *   MA: grows by √r_i·√c_j of SM3 among the scalars that were not selected before the drop. It has no window; γ only
 * says when the first reselection is.
 *
 * SPARSEGRAD and MEPROP: the mask is empty at first. Once the whole gradient of a step is accumulated, and before
 * speft_get_gradient, speft_clip_gradient and speft_step, `speft_reselect` selects the k largest |g| of it. The mask is
 * the union of what was selected so far, with δ = 0 for what is new; the gradient of the step is 0 in the rest of it.
 * AdamW and Adam, which alone are taken, are lazy: a weight whose gradient is 0 does not move, nor its moments, and its
 * age counts its own updates (up to 65,535). Until the reselection x and dy of each layer are copied, or dense
 * gradients added up. With SPEFT_SCHEDULE_NONE the mask is chosen once instead, by |ḡ| of observations, for any
 * optimizer.
 *
 * Any other method but GIVEN_MASK, GIVEN_SCORES and WEIGHT_CHANGE: dynamic masks. After each step t = n·S the host
 * observes again, where the method needs it, and `speft_reselect` selects anew, by the weights as trained; random masks
 * draw anew. Scalars that leave stay as trained: they become *settled*, with their original bits and deltas, are saved
 * and unmerged with the others, and keep their delta when they are selected again. The optimizer starts afresh for the
 * sparse parameters. Decay toward the original goes on pulling to θ0. */
typedef struct speft_schedule_options {
    uint32_t struct_size;
    int32_t schedule;       /* SPEFT_SCHEDULE_…, SpIEL's; NONE also of SPARSEGRAD and MEPROP */
    int64_t total_steps;    /* T; 0: not known, the rate stays */
    /* S; 0: 20 for SpIEL, or T where that is less; fixed masks for other methods. 0 or 1 of SPARSEGRAD and MEPROP. */
    int64_t reselect_every;
    int64_t window;         /* γ in [1, S]; 0: 5, or S where that is less. SpIEL's */
    double rate;            /* ξ in (0, 1]; 0: 0.2. SpIEL's */
    int64_t candidates;     /* K of all parameters together, at least k; 0: k. AG's */
    int32_t drop;           /* SPEFT_DROP_…, SpIEL's */
    /* 1: with dynamic masks, scalars that stay selected keep their moments and ages. SpIEL always does. */
    int32_t keep_moments;
    /* The most settled scalars, above 0: of more, those with the least |δ| regain the bits of θ0. Of SPARSEGRAD and
     * MEPROP: the most scalars of the mask beside those of the step; others leave it with their moments, of equal |δ|
     * the first. 0: no limit. */
    int64_t settled_limit;
    /* 1: speft_get_moved tells what the last reselection has moved: 4 bytes for each dropped and each grown scalar. */
    int32_t track_moves;
    int32_t reserved;
} speft_schedule_options;

/* Scores of the host's own. Called once for each sparse parameter while `speft_select` (or `speft_reselect`) runs, in
 * their order. `weights` are the bound ones; `gradient` the float32 mean of the observations, or NULL where there were
 * none; both have the parameter's shape and are to be read. `scores`, float32 of the same shape, is to be filled. All
 * lie on the context's device. Anything but 0 ends the selection with CANCELLED. Calls into that context get BUSY. */
typedef struct speft_score_function {
    uint32_t struct_size;
    int32_t reserved;
    int32_t (*compute)(void *user, int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                       const speft_tensor *scores);
    void *user;
} speft_score_function;

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
    /* NULL: SpIEL's defaults; masks of other methods stay. Copied. */
    const speft_schedule_options *schedule;
    /* As many scalars as low-rank factors of this rank would have: rank·(rows + columns) for each parameter, whose
     * first axis are the rows; their sum under the global scope. Not with per-row. */
    int64_t rank;
    /* Above 0: `density` is a fraction of this many scalars, those of the whole model say, frozen ones included.
     * Density·model_scalars must not be more than the sparse parameters have. */
    int64_t model_scalars;
    /* Of LOW_RANK, 1 or more; where a matrix has fewer rows or columns, that many. 0: 128. */
    int64_t approximation_rank;
    /* Of SCORE_FUNCTION. Copied. */
    const speft_score_function *score;
    int32_t mean; /* SPEFT_MEAN_… */
    int32_t reserved;
    /* Of SPARSEGRAD and MEPROP, where each step selects: of the k largest |g| those of at least this size, in a step
     * whose gradient has fewer; 0 or more. The gradient is as accumulated, before any clipping. */
    double threshold;
} speft_selection_options;

/* Defaults: GRADIENT, GLOBAL, EXACT; density, budget and rank are left 0 for the caller to choose. */
SPEFT_API void speft_selection_options_init(speft_selection_options *options, uint32_t size);
SPEFT_API void speft_schedule_options_init(speft_schedule_options *options, uint32_t size);

/* Announces the weight w > 0 of the batch whose gradients follow: its number of examples, say; 1 for equal batches.
 * Optional: an announced batch is added to the mean as it arrives, one float32 accumulator a sparse parameter; one
 * that is not needs a second accumulator until `speft_finish_observation` tells its weight.
 * INVALID_STATE after `speft_select`, unless masks are dynamic, or when a batch is open. */
SPEFT_API speft_status speft_begin_observation(speft_adapter *adapter, double weight, speft_error **error);

/* Adds `gradient` to what parameter `parameter` has received in this batch. Accepted and dropped where the method
 * needs no gradients; ignored for dense parameters. A gradient of 0 tokens counts as received. VALUES are refused:
 * they belong to a mask. INVALID_STATE after `speft_select`, unless masks are dynamic. */
SPEFT_API speft_status speft_observe(speft_adapter *adapter, int64_t parameter, const speft_gradient *gradient,
                                     speft_error **error);

/* Closes the batch. `weight` is w, or 0 for the announced one; another than the announced one is refused.
 * INVALID_STATE when a sparse parameter received nothing in this batch; the message names it, and the batch stays
 * open. */
SPEFT_API speft_status speft_finish_observation(speft_adapter *adapter, double weight, speft_error **error);

/* Forgets all that was observed, an open batch included: after a backward pass that failed half-way, say.
 * INVALID_STATE after `speft_select`, unless masks are dynamic. */
SPEFT_API speft_status speft_clear_observations(speft_adapter *adapter, speft_error **error);

/* For GIVEN_MASK: strictly increasing flat indices into the whole parameter, int64 [k], k >= 0, in host memory.
 * Copied. INVALID_STATE after `speft_select`. */
SPEFT_API speft_status speft_set_mask(speft_adapter *adapter, int64_t parameter, const speft_tensor *indices,
                                      speft_error **error);

/* For GIVEN_SCORES: float32, shape of the parameter, on the context's device. Copied. INVALID_STATE after
 * `speft_select`. */
SPEFT_API speft_status speft_set_scores(speft_adapter *adapter, int64_t parameter, const speft_tensor *scores,
                                        speft_error **error);

/* For WEIGHT_CHANGE: θ0, of the parameter's type and shape, on the context's device. Copied. INVALID_STATE after
 * `speft_select`. */
SPEFT_API speft_status speft_set_reference(speft_adapter *adapter, int64_t parameter, const speft_tensor *original,
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
    int32_t due;     /* 0: none was due, and all below is 0 */
    int64_t step;    /* after which it came */
    int64_t dropped; /* scalars that are no longer selected; with dynamic masks they are settled */
    int64_t grown;   /* scalars that are newly selected */
    int64_t settled; /* scalars of the settled set, now */
} speft_reselection;

/* Chooses again while training. To be called after every step where masks move: it does nothing when none is due
 * (speft_adapter_state.reselection_due), and the next step is refused when one is and was not made. What has been
 * accumulated is cleared. `progress` and `moved` (whose struct_size the caller has set) may be
 * NULL. INVALID_STATE: not selected; unmerged; weights not bound or changed behind the adapter; no observation where
 * the method needs one. INVALID_ARGUMENT: fewer scalars can be selected than are asked for. The masks and weights are
 * as before then. */
SPEFT_API speft_status speft_reselect(speft_adapter *adapter, const speft_progress *progress,
                                      speft_reselection *moved, speft_error **error);

/* `which` of speft_get_moved */
enum { SPEFT_MOVED_DROPPED = 0, SPEFT_MOVED_GROWN = 1 };

/* The flat indices of one parameter that the last reselection has dropped or grown, rising. `*count` (may be NULL) is
 * how many; `indices` (NULL: only count) is the caller's int64 [count] in host memory. None before the first one, and
 * of a loaded adapter. INVALID_STATE before the selection, and where speft_schedule_options.track_moves is not set. */
SPEFT_API speft_status speft_get_moved(speft_adapter *adapter, int64_t parameter, int32_t which, int64_t *count,
                                       const speft_tensor *indices, speft_error **error);

SPEFT_END_DECLS

#endif
