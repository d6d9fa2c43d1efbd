/* For authors of backends: what a plug-in gives to libspeft. Users of the library never need this header.
 *
 * A plug-in exports one function, `speft_backend_main`, that returns a table. It is loaded on first use and never
 * unloaded. No exception, no C++ type and no ownership of memory crosses the table. The core gives operations only
 * what it has checked: shapes agree, indices are strictly increasing and inside, pointers are the device's own.
 *
 * One call at a time comes for a device, from any thread; devices run side by side. */
#ifndef SPEFT_BACKEND_H
#define SPEFT_BACKEND_H

#include <stdint.h>

#include "context.h"
#include "optimizer.h"
#include "status.h"

SPEFT_BEGIN_DECLS

/* Raised when anything below changes. A plug-in of another version is not used. */
#define SPEFT_BACKEND_ABI_VERSION 7

typedef struct speft_backend_device speft_backend_device;

/* Filled in by a call that does not return SPEFT_OK; the core provides it, zeroed. */
typedef struct speft_backend_failure {
    int64_t native_code;
    char message[512]; /* UTF-8, ends in 0 */
} speft_backend_failure;

typedef struct speft_backend_device_options {
    uint32_t struct_size;
    int32_t device;
    int32_t threads; /* 0: choose */
    void *stream;
    const speft_parallel_for *parallel_for; /* NULL: the backend's own threads */
} speft_backend_device_options;

/* Element types of the host's tensors. */
enum { SPEFT_SCALAR_FLOAT32 = 0, SPEFT_SCALAR_BFLOAT16 = 1, SPEFT_SCALAR_FLOAT16 = 2 };

/* ---- the operations ----
 * Each has an argument struct. "[n]" gives the length of an array; arrays are in device memory unless they are said
 * to be on the host. Accumulators, scores and deltas are float32; arithmetic is float32 with one rounding an
 * operation (no FMA) and denormals kept, except where a product is summed over tokens: there the order and the
 * precision of the sum are free, and denormal factors may count as 0 (vdpbf16ps). Answers never depend on the number of
 * threads. */

enum {
    SPEFT_OPERATION_ADD_VALUES = 0,
    SPEFT_OPERATION_ADD_PRODUCT = 1,
    SPEFT_OPERATION_SELECT_TOP = 2,
    SPEFT_OPERATION_SELECT_RANDOM = 3,
    SPEFT_OPERATION_SUM_SQUARES = 4,
    SPEFT_OPERATION_SCALE = 5,
    SPEFT_OPERATION_STEP_ADAMW = 6,
    SPEFT_OPERATION_CAPTURE = 7,
    SPEFT_OPERATION_MERGE = 8,
    SPEFT_OPERATION_UNMERGE = 9,
    SPEFT_OPERATION_SELECT_ROWS = 10,
    SPEFT_OPERATION_STEP_SGD = 11,
    SPEFT_OPERATION_MEASURE_ROUNDING = 12,
    SPEFT_OPERATION_ADD_EXAMPLE_SQUARES = 13,
    SPEFT_OPERATION_ADD_COLUMN_SQUARES = 14,
    SPEFT_OPERATION_SELECT_PRODUCT = 15,
    SPEFT_OPERATION_FACTORIZE = 16,
    SPEFT_OPERATION_FIND_INDICES = 17,
    SPEFT_OPERATION_COMBINE_INDICES = 18,
    SPEFT_OPERATION_TAKE = 19,
    SPEFT_OPERATION_STEP_LION = 20,
    SPEFT_OPERATION_STEP_SM3 = 21,
    SPEFT_OPERATION_STEP_ADAFACTOR = 22,
    SPEFT_OPERATION_CONVERT_MOMENTS = 23,
    SPEFT_OPERATION_ADD_GRAM = 24,
    SPEFT_OPERATION_FIND_EIGENVECTORS = 25,
    SPEFT_OPERATION_MULTIPLY = 26,
    SPEFT_OPERATION_MULTIPLY_SPARSE = 27,
    SPEFT_OPERATION_QUANTIZE = 28,
    SPEFT_OPERATION_DEQUANTIZE = 29,
    SPEFT_OPERATION_MULTIPLY_QUANTIZED = 30,
    SPEFT_OPERATION_REQUANTIZE = 31,
    SPEFT_OPERATION_COUNT = 32
};

/* `speft_add_values.map`: what becomes of scale·source, already rounded, before it is added. */
enum { SPEFT_MAP_IDENTITY = 0, SPEFT_MAP_SQUARE = 1, SPEFT_MAP_ABSOLUTE = 2 };

/* sums[j] += weight · map(scale · source[indices ? indices[j] : j]) for j in [0, count): a dense gradient at a mask, or
 * all of it, or values of the mask. Each product is rounded, then the sum; a weight of 1 changes nothing. */
typedef struct speft_add_values {
    float *sums;             /* [count] */
    const void *source;      /* [count], or the whole parameter when there are indices */
    const uint32_t *indices; /* [count], strictly increasing, or NULL */
    uint64_t count;
    int32_t source_type; /* SPEFT_SCALAR_… */
    int32_t map;         /* SPEFT_MAP_… */
    float scale;
    float weight;
} speft_add_values;

/* sums[j] += scale · Σ_t dy[t, r]·x[t, c], where the j-th scalar is (r, c) of the weight: flat index
 * r·in + c (OUT_IN) or c·out + r (IN_OUT); j-th of the mask, or every scalar when `indices` is NULL. */
typedef struct speft_add_product {
    float *sums;             /* [count] */
    const void *x;           /* [tokens, in] */
    const void *dy;          /* [tokens, out] */
    const uint32_t *indices; /* [count] or NULL: count = in·out */
    uint64_t count;
    uint64_t tokens;
    uint64_t in;
    uint64_t out;
    int32_t x_type;
    int32_t dy_type;
    int32_t layout; /* SPEFT_LAYOUT_… */
    float scale;
} speft_add_product;

/* Squares of per-example gradients, summed: sums[j] += weight · Σ_e (scale · Σ_t dy[t, r]·x[t, c])² with t over the
 * tokens [offsets[e], offsets[e+1]) of example e, and j = every scalar (r, c) of the weight in its layout. The inner
 * sum is free in order and precision as above; the examples are added one by one in float32, in order. */
typedef struct speft_add_example_squares {
    float *sums;            /* [in·out] */
    const void *x;          /* [tokens, in] */
    const void *dy;         /* [tokens, out] */
    const int64_t *offsets; /* [examples + 1], on the host, from 0 to `tokens`, never falling */
    uint64_t examples;
    uint64_t tokens;
    uint64_t in;
    uint64_t out;
    int32_t x_type;
    int32_t dy_type;
    int32_t layout;
    float scale;
    float weight;
    int32_t reserved;
} speft_add_example_squares;

/* sums[c] += weight · Σ_t x[t, c]²; order and precision of the sum over tokens are free. */
typedef struct speft_add_column_squares {
    float *sums;   /* [columns] */
    const void *x; /* [tokens, columns] */
    uint64_t tokens;
    uint64_t columns;
    int32_t x_type;
    float weight;
} speft_add_column_squares;

/* The best approximation of a matrix by one of rank `rank` (that of its singular value decomposition), as
 * left·rightᵀ. Where its singular values are close to each other there are several; a randomized one is as good as
 * `core/base/low_rank.h` says. */
typedef struct speft_factorize {
    const void *weights; /* [rows, columns] */
    uint64_t rows;
    uint64_t columns;
    uint64_t rank; /* in [1, min(rows, columns)] */
    float *left;   /* [rows, rank] */
    float *right;  /* [columns, rank] */
    int32_t weights_type;
    int32_t reserved;
} speft_factorize;

/* gram[i, j] += factor · Σ_c matrix[i, c]·matrix[j, c] for j <= i, the rows of the matrix with each other; or where
 * `of_columns` is 1 += factor · Σ_r matrix[r, i]·matrix[r, j], its columns. What stands above the diagonal afterwards
 * means nothing. Order and precision of the sums are free. */
typedef struct speft_add_gram {
    float *gram;         /* [rows, rows], or [columns, columns] */
    const float *matrix; /* [rows, columns] */
    uint64_t rows;
    uint64_t columns;
    int32_t of_columns;
    float factor;
} speft_add_gram;

/* The eigenvectors of the `count` largest eigenvalues of a symmetric matrix, of which only what is on and below the
 * diagonal is read; orthonormal to within float32, also where eigenvalues are equal or 0. The largest first, and of each
 * vector the largest |entry|, the first one among equals, is positive. */
typedef struct speft_find_eigenvectors {
    const float *matrix; /* [size, size], finite */
    uint64_t size;
    uint64_t count; /* in [1, size] */
    float *vectors; /* [count, size] */
    double *values; /* [size], on the host: all eigenvalues, falling */
} speft_find_eigenvectors;

/* target[i, j] = round(base + scale · Σ_q a[i, q]·b), base = target[i, j] where `accumulate` is 1, else 0, and b = b[q,
 * j], or b[j, q] where `b_transposed` is 1. Order and precision of the sum are free, but it is rounded to the target's
 * type once. The target overlaps neither factor. */
typedef struct speft_multiply {
    const void *a; /* [rows, inner] */
    const void *b; /* [inner, columns], or [columns, inner] */
    void *target;  /* [rows, columns] */
    uint64_t rows;
    uint64_t inner;
    uint64_t columns;
    int32_t a_type;
    int32_t b_type;
    int32_t target_type;
    int32_t b_transposed;
    int32_t accumulate;
    float scale;
} speft_multiply;

/* The same with a sparse b: S [sparse_rows, sparse_columns], which is 0 but for the values at `indices`, flat and
 * strictly increasing. target [rows, sparse_columns] from a [rows, sparse_rows] and S; where `transposed` is 1, target
 * [rows, sparse_rows] from a [rows, sparse_columns] and Sᵀ. What S does not reach is `base`, whatever a holds: a NaN in
 * a reaches only the columns that it is multiplied into. */
typedef struct speft_multiply_sparse {
    const void *a;
    void *target;
    const uint32_t *indices; /* [count] */
    const void *values;      /* [count] */
    uint64_t count;
    uint64_t rows;
    uint64_t sparse_rows;
    uint64_t sparse_columns;
    int32_t a_type;
    int32_t target_type;
    int32_t values_type; /* FLOAT32 or BFLOAT16 */
    int32_t transposed;
    int32_t accumulate;
    float scale;
} speft_multiply_sparse;

/* `speft_score.formula`: a score is computed on the fly, never stored. g = sums/total_weight, rounded once; `row` and
 * `column` are index/columns and index%columns. */
enum {
    SPEFT_SCORE_ABS_WEIGHT = 0,              /* |θ| */
    SPEFT_SCORE_ABS_GRADIENT = 1,            /* |g| */
    SPEFT_SCORE_ABS_PRODUCT = 2,             /* |g·θ| */
    SPEFT_SCORE_GIVEN = 3,                   /* sums as they are, signed */
    SPEFT_SCORE_PRODUCT = 4,                 /* g·θ */
    SPEFT_SCORE_NEGATIVE_PRODUCT = 5,        /* −(g·θ) */
    SPEFT_SCORE_NEGATIVE_ABS_WEIGHT = 6,     /* −|θ| */
    SPEFT_SCORE_ABS_DIFFERENCE = 7,          /* |θ − reference| */
    SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE = 8, /* −|θ − reference| */
    /* |θ|·√s, s = left[row], or right[column] where left is NULL */
    SPEFT_SCORE_SCALED_WEIGHT = 9,
    /* |Σ_q left[row, q]·right[column, q]|, each product rounded, then each sum, q rising */
    SPEFT_SCORE_LOW_RANK = 10,
    /* √left[row]·√right[column] */
    SPEFT_SCORE_MOMENTUM = 11
};

/* What a formula does not need is NULL or 0. */
typedef struct speft_score {
    const void *weights; /* [count] */
    const float *sums;   /* [count] */
    uint64_t count;
    int32_t weights_type;
    int32_t formula;
    float total_weight;
    uint32_t rank;           /* of left and right; 1 but for LOW_RANK */
    const void *reference;   /* [count], of the weights' type */
    const float *left;       /* [count/columns, rank] */
    const float *right;      /* [columns, rank] */
    uint64_t columns;        /* divides count */
    const uint32_t *excluded; /* [excluded_count], strictly increasing: never selected, whatever their score */
    uint64_t excluded_count;
} speft_score;

/* The k largest scores of all tensors together, by the rules in selection.h. */
typedef struct speft_select_top {
    const speft_score *scores; /* [tensors], on the host */
    uint64_t tensors;
    uint64_t k;
    uint32_t *indices;              /* [k]: those of tensor 0 in rising order, then tensor 1, … */
    uint64_t *counts;               /* [tensors], on the host: how many of each */
    /* On the host: how many scores are neither NaN nor excluded. Below k nothing else is written. */
    uint64_t *eligible;
    const speft_progress *progress; /* may be NULL; SPEFT_CANCELLED when it says so */
} speft_select_top;

/* One part of a gradient from activations: scale · Σ_t dy[t, r]·x[t, c]. */
typedef struct speft_product_factors {
    const void *x;  /* [tokens, in] */
    const void *dy; /* [tokens, out] */
    uint64_t tokens;
    int32_t x_type;
    int32_t dy_type;
    float scale;
    int32_t reserved;
} speft_product_factors;

/* The gradient of one weight matrix, as the sum of its parts (in order, each added as add_product adds it). */
typedef struct speft_product_score {
    const speft_product_factors *parts; /* [count], on the host */
    uint64_t count;
    uint64_t in;
    uint64_t out;
    const uint32_t *excluded; /* [excluded_count], strictly increasing: never selected */
    uint64_t excluded_count;
    int32_t layout;
    int32_t reserved;
} speft_product_score;

/* The k largest |gradient| of all matrices together, by the rules in selection.h, without ever holding a gradient
 * as a whole: scratch is bounded by k and by a few rows. */
typedef struct speft_select_product {
    const speft_product_score *scores; /* [tensors], on the host */
    uint64_t tensors;
    uint64_t k;
    uint32_t *indices;              /* [k]: those of tensor 0 in rising order, then tensor 1, … */
    uint64_t *counts;               /* [tensors], on the host */
    uint64_t *eligible;             /* on the host, as for select_top */
    const speft_progress *progress; /* may be NULL; SPEFT_CANCELLED when it says so */
} speft_select_product;

/* positions[j] = base + the place of wanted[j] in `sorted`, or UINT32_MAX where it has none. Both lists are strictly
 * increasing. */
typedef struct speft_find_indices {
    const uint32_t *sorted; /* [sorted_count] */
    const uint32_t *wanted; /* [wanted_count] */
    uint32_t *positions;    /* [wanted_count] */
    uint64_t sorted_count;
    uint64_t wanted_count;
    uint32_t base;
    uint32_t reserved;
} speft_find_indices;

/* `speft_combine_indices.combination` */
enum { SPEFT_COMBINE_UNION = 0, SPEFT_COMBINE_DIFFERENCE = 1 };

/* The indices of either list, or those of the first that are not in the second; rising. Both lists are strictly
 * increasing. */
typedef struct speft_combine_indices {
    const uint32_t *first;  /* [first_count] */
    const uint32_t *second; /* [second_count] */
    uint64_t first_count;
    uint64_t second_count;
    uint32_t *indices; /* room for first_count + second_count, or first_count; overlaps no other */
    uint64_t *count;   /* on the host: how many */
    int32_t combination;
    int32_t reserved;
} speft_combine_indices;

/* target[j] = source[positions[j]], for each j whose position is not UINT32_MAX; the others stay. Bits are copied. An
 * element may be a row of a matrix. */
typedef struct speft_take {
    void *target;              /* [count] */
    const void *source;
    const uint32_t *positions; /* [count] */
    uint64_t count;
    uint64_t element_bytes;
} speft_take;

/* The k largest scores of each row of one tensor, by the rules in selection.h. */
typedef struct speft_select_rows {
    speft_score score;
    uint64_t rows; /* score.count is a multiple of it */
    uint64_t k;    /* at most the length of a row */
    uint32_t *indices;              /* [rows·k]: flat indices, rising */
    uint64_t *short_row;            /* on the host: the first row with fewer than k scores but NaN, or `rows` */
    uint64_t *eligible;             /* on the host: how many that row has. What `indices` holds then is free */
    const speft_progress *progress; /* may be NULL; SPEFT_CANCELLED when it says so */
} speft_select_rows;

/* A random mask from a key; core/base/random.h defines it. Exactly k of [0, size) without replacement when `threshold`
 * is 0, else every index of it whose 64-bit draw is below `threshold`.
 * With `rows` above 1, exactly k of each row [r·size, (r+1)·size), from the key draw64(key, r); `threshold` is 0. */
typedef struct speft_select_random {
    uint64_t key;
    uint64_t size;
    uint64_t rows; /* at least 1 */
    uint64_t k;    /* rows·k is the capacity of `indices` */
    uint64_t threshold;
    uint32_t *indices; /* [rows·k], rising; NULL to count only */
    uint64_t *count;   /* on the host: how many; more than k is INVALID_ARGUMENT, with nothing written to `indices` */
} speft_select_random;

/* *sum = Σ values², in float64, over all arrays in order; the grouping of the sum must not depend on threads. */
typedef struct speft_sum_squares {
    const float *const *values; /* [arrays], on the host */
    const uint64_t *counts;     /* [arrays], on the host */
    uint64_t arrays;
    double *sum; /* on the host */
} speft_sum_squares;

/* values[i] *= factor */
typedef struct speft_scale {
    float *const *values;   /* [arrays], on the host */
    const uint64_t *counts; /* [arrays], on the host */
    uint64_t arrays;
    float factor;
} speft_scale;

/* The selected scalars of one parameter, where they lie. */
typedef struct speft_segment {
    const uint32_t *indices; /* [count], or NULL: all scalars, in order */
    uint64_t count;
    void *weights;   /* the whole parameter, or [count] when `compact` */
    void *originals; /* [count], the weights' type: θ0 */
    void *deltas;    /* [count]: δ; when `absolute`, the weight itself in float32 */
    int32_t weights_type;
    int32_t deltas_type; /* FLOAT32, or BFLOAT16 unless `absolute` with weights of their own */
    /* 1: a dense parameter, trained as float32 values instead of differences: wherever round(θ0+δ) is said below, it
     * is round(δ), and decay pulls δ to 0 either way. */
    int32_t absolute;
    /* For a step on bfloat16 deltas: they are rounded up or down at random, with draw_bits(rounding_key, j) of
     * core/base/random.h, so that updates below half a unit in the last place are kept on average. */
    uint32_t rounding_key;
    /* 1: the weights are those of the selected scalars alone: weights[j] wherever weights[i_j] is said. They may be the
     * deltas themselves, where these are `absolute` and of one type. */
    int32_t compact;
    int32_t reserved;
} speft_segment;

/* originals[j] = weights[i_j], and no arithmetic on the bits. */
typedef struct speft_capture {
    const speft_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_capture;

/* weights[i_j] = round(originals[j] + deltas[j]); a δ of 0 leaves the original bits. The sum is float32, rounded to
 * the weights' type to nearest even.
 * differing[s] = how many weights of segment s were neither originals[j], bit for bit, nor the merged weight already
 * (any NaN equals any NaN). When there is one in any segment, all weights are as they were before. */
typedef struct speft_merge_segments {
    const speft_segment *segments; /* [count], on the host */
    uint64_t count;
    uint64_t *differing; /* [count], on the host */
} speft_merge_segments;

/* weights[i_j] = originals[j]. differing[s] = how many weights of segment s were not the merged weight (any NaN equals
 * any NaN). When there is one in any segment, all weights are as they were before. */
typedef struct speft_unmerge_segments {
    const speft_segment *segments; /* [count], on the host */
    uint64_t count;
    uint64_t *differing; /* [count], on the host */
} speft_unmerge_segments;

/* Moments as they are stored. `type` is a SPEFT_STATE_… of optimizer.h: FLOAT32 and BFLOAT16 have `values` alone; of
 * BLOCKS8 every 64 elements share scales[j/64], the largest magnitude among them, and `values` are codes of one byte
 * (core/base/block_code.h). The last block may be short. */
typedef struct speft_moments {
    void *values;  /* [count] */
    float *scales; /* [⌈count/64⌉], or NULL */
    int32_t type;
    /* BFLOAT16 is rounded up or down at random, by draw_bits(rounding_key, j). */
    uint32_t rounding_key;
} speft_moments;

/* Reads moments of any type as float32, or writes them from float32: `to_float` 1 or 0. */
typedef struct speft_convert_moments {
    speft_moments moments;
    float *values; /* [count] */
    uint64_t count;
    int32_t to_float;
    int32_t is_signed; /* which code BLOCKS8 has: 1 for first moments and velocities, 0 for second moments */
} speft_convert_moments;

/* `decay` of the steps below: what decay pulls to and when. 0, 1 and 2 are SPEFT_DECAY_… of optimizer.h; decay after
 * the update pulls to the original. */

/* One update of AdamW or Adam, as optimizer.h defines it, then the weights. */
typedef struct speft_adamw_segment {
    speft_segment segment;
    const float *gradient; /* [count] */
    speft_moments moment1; /* signed */
    speft_moments moment2; /* not signed */
    /* The age of weight j, this update included, is `age` where `cohorts` is NULL, else age − births[cohorts[j]], which
     * is at least 1. */
    const uint16_t *cohorts; /* [count] */
    const int32_t *births;   /* in device memory */
    /* Lazy: not NULL, and `cohorts` is. A weight whose gradient is 0 stays as it is: its δ, its moments and its age (in
     * BLOCKS8 its moments are rounded again where others of their block have moved). Of any other one ages[j] is raised
     * by 1, to 65,535 at most, and is its age. */
    uint16_t *ages; /* [count] */
    uint32_t age;
    int32_t decay_kind;
    int32_t coupled; /* 1: Adam: decay is added to the gradient */
    int32_t reserved;
    float learning_rate;
    float decay;          /* lr·λ, rounded once; λ when coupled, unless it comes after the update */
    float gradient_scale; /* g = gradient·gradient_scale */
    float beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
    /* Bias corrections by age: corrections1[a] = 1/(1−β1^a), corrections2[a] = 1/√(1−β2^a), for a in [1, corrections).
     * Ages beyond the table take its last entry, where both have reached their limits in float32. In device memory;
     * they depend on the betas alone, so that a captured step may change its learning rate. */
    uint32_t corrections;
    const float *corrections1; /* [corrections] */
    const float *corrections2; /* [corrections] */
} speft_adamw_segment;

typedef struct speft_step_adamw {
    const speft_adamw_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_step_adamw;

/* One update of SGD with momentum, as optimizer.h defines it, then the weights. */
typedef struct speft_sgd_segment {
    speft_segment segment;
    const float *gradient;  /* [count] */
    speft_moments velocity; /* signed; `values` NULL: no momentum */
    int32_t decay_kind;
    float learning_rate;
    float decay;          /* λ; lr·λ, rounded once, when it comes after the update */
    float gradient_scale; /* g = gradient·gradient_scale */
    float momentum;       /* μ */
} speft_sgd_segment;

typedef struct speft_step_sgd {
    const speft_sgd_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_step_sgd;

/* One update of Lion, as optimizer.h defines it, then the weights. */
typedef struct speft_lion_segment {
    speft_segment segment;
    const float *gradient; /* [count] */
    speft_moments moment;  /* signed */
    int32_t decay_kind;
    float learning_rate;
    float decay;          /* lr·λ, rounded once */
    float gradient_scale; /* g = gradient·gradient_scale */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
} speft_lion_segment;

typedef struct speft_step_lion {
    const speft_lion_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_step_lion;

/* One update of SM3 or Adafactor: the second moments of a parameter as one number a row and one a column, in which
 * index i is (i/columns, i%columns). A parameter of fewer than 2 axes has columns = 1: one number a scalar. */
typedef struct speft_factored_segment {
    speft_segment segment;
    const float *gradient; /* [count] */
    float *rows;           /* [size/columns] */
    float *columns_state;  /* [columns]; NULL where columns is 1 */
    uint64_t size;         /* scalars of the whole parameter */
    uint64_t columns;
    int32_t decay_kind;
    float learning_rate;
    float decay;          /* lr·λ, rounded once */
    float gradient_scale; /* g = gradient·gradient_scale */
    /* Adafactor's only: ε1, and what the root mean square of u is scaled down to */
    float beta2, one_minus_beta2, epsilon, clip;
} speft_factored_segment;

typedef struct speft_step_sm3 {
    const speft_factored_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_step_sm3;

typedef struct speft_step_adafactor {
    const speft_factored_segment *segments; /* [count], on the host */
    uint64_t count;
} speft_step_adafactor;

/* What rounding to the weights' type takes from the deltas: total[s] = Σ |δ| and lost[s] = Σ |δ − (round(θ0+δ) − θ0)|
 * over segment s, each difference and each sum in float64; the grouping must not depend on threads. No segment is
 * `absolute`. */
typedef struct speft_measure_rounding {
    const speft_segment *segments; /* [count], on the host */
    uint64_t count;
    double *total; /* [count], on the host */
    double *lost;  /* [count], on the host */
} speft_measure_rounding;

/* `coding` below: what codes are. */
enum {
    SPEFT_CODING_LEVELS4 = 0, /* of 4 bits, the number of one of 16 levels; the first of two is a byte's upper half */
    SPEFT_CODING_LEVELS8 = 1, /* of a byte, the number of one of 256 levels, which rise */
    SPEFT_CODING_INT8 = 2     /* int8, in 127ths of the scale */
};

/* Codes of weights in blocks that share a scale, absmax[b] = a = the largest |w| of block b, as bitsandbytes computes
 * them. The last block may be short. With a' = max(a, 1e-38) and levels in [-1, 1]:
 *
 * LEVELS: the code of the level nearest to s = w·(1/a'), brought into [-1, 1]. That is: of the levels as they rise,
 * equal ones by their numbers, the one that has as many before it as there are middles (l + l')/2 of neighbours below s.
 * LEVELS4: the short block has s = w/a' and absmax a'; after an odd count comes the code of s = 0. LEVELS8: all 0 where
 * a is 0.
 * INT8: w·((1/a)·127) to the nearest, the even one of two; 0 where (1/a)·127 is not finite.
 *
 * Where there is an `offset` it becomes the mean of the weights (summed in float64, grouped as threads do not matter;
 * 0 of none), and w − offset is taken for w. */
typedef struct speft_quantize_blocks {
    const void *weights; /* [count] */
    void *codes;         /* [count], or [⌈count/2⌉] bytes of LEVELS4 */
    float *absmax;       /* [⌈count/block⌉] */
    float *offset;       /* [1], or NULL */
    const float *levels; /* [16] or [256], on the host; NULL for INT8 */
    uint64_t count;
    uint64_t block; /* even for LEVELS4 */
    /* On the host: how many weights are not finite. When there is one, nothing else is written. */
    uint64_t *not_finite;
    int32_t weights_type;
    int32_t coding;
} speft_quantize_blocks;

/* A quantized weight. Its scales are `absmax`, or quantized themselves, in blocks of `absmax_block` of them:
 * a = absmax_levels[absmax_codes[b]]·absmax_absmax[b/absmax_block] + absmax_offset, two roundings. */
typedef struct speft_quantized_blocks {
    const void *codes;
    const float *absmax;         /* [⌈count/block⌉], or NULL */
    const uint8_t *absmax_codes; /* [⌈count/block⌉], or NULL */
    const float *absmax_absmax;
    const float *absmax_offset; /* [1] */
    const float *absmax_levels; /* [256], on the host */
    const float *levels;        /* [16], on the host; NULL for INT8 */
    uint64_t count;
    uint64_t block; /* even for LEVELS4 */
    uint64_t absmax_block;
    int32_t coding; /* LEVELS4 or INT8 */
    int32_t reserved;
} speft_quantized_blocks;

/* weights[j] = levels[code]·a, or (code·a)·(1/127) of INT8, each product rounded, and then to the weights' type. */
typedef struct speft_dequantize_blocks {
    speft_quantized_blocks quantized;
    void *weights; /* [count] */
    int32_t weights_type;
    int32_t reserved;
} speft_dequantize_blocks;

/* A product with a quantized weight and a sparse delta beside it: target = base + scale · a·b, or a·bᵀ where
 * `transposed` is 1, with b = dequantized + S; S is 0 but for the values at `indices`, flat and strictly increasing.
 * base is what target holds where `accumulate` is 1, else 0. b is float32, and no array of its size is made. An
 * implementation may multiply codes, scales and values apart instead of rounding b: its errors are then by the
 * magnitudes of both parts of b, and where a factor is infinite a sum may be a NaN for an infinity. */
typedef struct speft_multiply_quantized {
    const void *a;                    /* [rows, b_rows], or [rows, b_columns] where transposed */
    void *target;                     /* [rows, b_columns], or [rows, b_rows] */
    speft_quantized_blocks quantized; /* [b_rows, b_columns] */
    const uint32_t *indices;          /* [count] */
    const void *values;               /* [count] */
    uint64_t count;
    uint64_t rows;
    uint64_t b_rows;
    uint64_t b_columns;
    int32_t a_type;
    int32_t target_type;
    int32_t values_type; /* FLOAT32 or BFLOAT16 */
    int32_t transposed;
    int32_t accumulate;
    float scale;
} speft_multiply_quantized;

/* A quantized weight with values added to some of its scalars: the blocks that they are in are quantized anew, the
 * others stay as they are. In a block: w = dequantized + value, rounded once; absmax = max |w|, encoded where the
 * scales are quantized themselves (the nearest of a = absmax_levels[code]·absmax_absmax + absmax_offset, which keep
 * their values); but the scale that is there stays where Σ (ŵ − w)² is not larger with it: most w are on its grid. Then
 * the nearest code to each w by the scale as it will be read, looked up as quantizing does: a' = a where |a| ≥ 1e-38,
 * for such a scale may be negative, or too small for some w, whose counts in 127ths are brought into [-127, 127].
 * Nothing is written unless all w are finite. */
typedef struct speft_requantize_blocks {
    speft_quantized_blocks quantized; /* what is there; `codes` and the absmax may be those below */
    void *codes;                      /* as quantized.codes, which the caller has copied there */
    float *absmax;                    /* as quantized.absmax, likewise; NULL where those are codes */
    uint8_t *absmax_codes;            /* as quantized.absmax_codes, likewise, or NULL */
    const uint32_t *indices;          /* [count], strictly increasing */
    const void *values;               /* [count] */
    uint64_t count;
    int32_t values_type; /* FLOAT32 or BFLOAT16 */
    int32_t reserved;
    /* On the host: how many w are not finite; how many of `indices` have got another code; Σ w² and Σ (ŵ − w)² over
     * the scalars of the blocks in question, ŵ as it will be dequantized, in double, in any order. */
    uint64_t *not_finite;
    uint64_t *changed;
    double *squares;
    double *squared_errors;
} speft_requantize_blocks;

/* ---- the table ---- */

/* One way to run an operation. `arguments` points to the operation's struct above. */
typedef struct speft_backend_implementation {
    const char *name; /* "reference", "avx512" */
    /* NULL when it can run this case, else why not, in static storage. */
    const char *(*refuse)(const speft_backend_device *device, const void *arguments);
    /* Bytes of device memory that `run` needs for itself; the function is NULL where that is none. An implementation
     * takes no memory elsewhere that grows with the tensors. Like `refuse` it looks at sizes and types, never through
     * a pointer to elements: a memory plan asks both about tensors that are not there yet. */
    uint64_t (*scratch)(const speft_backend_device *device, const void *arguments);
    /* `scratch`: as many bytes as it asked for, aligned to 64, not initialized; free again when the work is done, in
     * stream order. */
    speft_status (*run)(speft_backend_device *device, const void *arguments, void *scratch,
                        speft_backend_failure *failure);
} speft_backend_implementation;

/* `direction` of a copy. */
enum { SPEFT_COPY_TO_DEVICE = 0, SPEFT_COPY_TO_HOST = 1, SPEFT_COPY_WITHIN = 2 };

typedef struct speft_backend_table {
    uint32_t struct_size;
    uint32_t abi_version;
    const char *name;    /* "cpu" */
    const char *version; /* the release it was built from */
    int32_t device_type; /* SPEFT_DEVICE_… of tensors it works on */
    int32_t reserved;

    /* How good this backend is here: 0 cannot run (and `*reason` says why, in static storage), a CPU 1, a GPU more. */
    int32_t (*score)(const char **reason);

    speft_status (*create_device)(const speft_backend_device_options *options, speft_backend_device **device,
                                  speft_backend_failure *failure);
    void (*destroy_device)(speft_backend_device *device);
    speft_status (*set_stream)(speft_backend_device *device, void *stream, speft_backend_failure *failure);
    speft_status (*synchronize)(speft_backend_device *device, speft_backend_failure *failure);

    /* Used unless the host brought an allocator. Aligned to 64 bytes; NULL when there is none. */
    void *(*allocate)(speft_backend_device *device, uint64_t bytes);
    void (*deallocate)(speft_backend_device *device, void *memory, uint64_t bytes);
    /* The host's side of a copy is complete when it returns. */
    speft_status (*copy)(speft_backend_device *device, void *target, const void *source, uint64_t bytes,
                         int32_t direction, speft_backend_failure *failure);
    speft_status (*zero)(speft_backend_device *device, void *memory, uint64_t bytes, speft_backend_failure *failure);

    /* The implementations of an operation, fastest first, the reference last; NULL and 0 when there are none. */
    const speft_backend_implementation *(*implementations)(int32_t operation, uint32_t *count);
} speft_backend_table;

/* The plug-in's entry point. Returns NULL when it does not speak `abi_version`. */
typedef const speft_backend_table *(*speft_backend_main_function)(uint32_t abi_version);

SPEFT_END_DECLS

#endif
