/* A basis in which gradients are sparse: SparseGrad (Chekalina et al. 2024, section 3.1).
 *
 *     speft_create_basis               for matrices of one shape
 *     speft_observe_basis, …           gradients of several steps and layers
 *     speft_fit_basis                  orthogonal U and V
 *     speft_get_basis
 *
 * dW [rows, columns] of a layer y = x Wᵀ becomes V dW Uᵀ. U and V are the factors of a higher-order singular value
 * decomposition of the stack of all gradients dW that were observed: the rows of U are the eigenvectors of Σ dWᵀ dW,
 * those of V the eigenvectors of Σ dW dWᵀ. The sums are kept, in float32, and no stack: 4 bytes × (rows² + columns² +
 * rows·columns). Eigenvectors are found in float64 and rounded once. Threads are those of context.h. */
#ifndef SPEFT_BASIS_H
#define SPEFT_BASIS_H

#include <stdint.h>

#include "adapter.h"
#include "context.h"
#include "error.h"
#include "export.h"
#include "gradient.h"
#include "tensor.h"

SPEFT_BEGIN_DECLS

typedef struct speft_basis speft_basis;

/* The shape of the matrices, as a host's weight has it: [out, in], or [in, out]. */
typedef struct speft_basis_options {
    uint32_t struct_size;
    int32_t reserved;
    int64_t rows;    /* 1 or more */
    int64_t columns; /* 1 or more */
    /* How many rows V and U have, at most `rows` and `columns`: the leading directions, for matrices whose whole basis
     * would be too large. 0: all. */
    int64_t row_directions;
    int64_t column_directions;
} speft_basis_options;

SPEFT_API void speft_basis_options_init(speft_basis_options *options, uint32_t size);

/* On success `*basis` is owned by the caller and keeps the context alive. */
SPEFT_API speft_status speft_create_basis(speft_context *context, const speft_basis_options *options,
                                          speft_basis **basis, speft_error **error);

/* Takes NULL. */
SPEFT_API void speft_destroy_basis(speft_basis *basis);

/* Adds one gradient of one matrix: DENSE, or ACTIVATIONS; VALUES are refused. Its `scale` weighs it, by the square.
 * INVALID_ARGUMENT, with nothing added, for another shape, a NaN or an infinity. */
SPEFT_API speft_status speft_observe_basis(speft_basis *basis, const speft_gradient *gradient, speft_error **error);

/* Finds U and V from what was observed so far; more can be observed afterwards, and fitted again. Eigenvalues fall; the
 * largest |entry| of each vector, the first one among equals, is positive. Where the gradients span fewer directions
 * than there are, the others complete the basis and are arbitrary: speft_get_basis_state tells how many there are.
 * `progress` may be NULL; it counts the sides, and after a cancelled or failed call U and V are as before.
 * INVALID_STATE: no gradient was observed; an adapter trains in it. INVALID_ARGUMENT: all of them were 0. */
SPEFT_API speft_status speft_fit_basis(speft_basis *basis, const speft_progress *progress, speft_error **error);

/* Lends U [column_directions, columns] and V [row_directions, rows], float32 on the context's device, to be read; valid
 * as long as the basis, and written anew by the next fit. INVALID_STATE: not fitted since the last gradient. */
SPEFT_API speft_status speft_get_basis(speft_basis *basis, speft_tensor *u, speft_tensor *v, speft_error **error);

typedef struct speft_basis_state {
    uint32_t struct_size;
    int32_t fitted;       /* 1: after speft_fit_basis, and no gradient since */
    int64_t observations; /* gradients so far */
    /* What follows is 0 until fitted. How many directions the gradients span: eigenvalues above float32's rounding of
     * the largest one. */
    int64_t row_directions;
    int64_t column_directions;
    /* The share of Σ dW² that the rows of V, and those of U, hold: 1 where all directions are kept. */
    double row_share;
    double column_share;
} speft_basis_state;

/* Fills `*state`, whose struct_size the caller has set. */
SPEFT_API speft_status speft_get_basis_state(speft_basis *basis, speft_basis_state *state, speft_error **error);

/* Trains `parameter` in `basis`, which the adapter keeps alive and which is fitted no more until the adapter is gone
 * (INVALID_STATE). NULL: the ordinary basis. Only where the method is SPARSEGRAD, which needs one for each of its
 * sparse parameters; several may share it.
 * The mask, the deltas Δ̃ and gradients of kind VALUES are [row_directions, column_directions] of it, row-major; those
 * of other kinds are those of W, and are brought into the basis here. W stays as it is, and Δ̃ beside it: the host's
 * layer computes with linear.h. Weight decay pulls Δ̃ to 0, whichever its kind.
 * INVALID_STATE: after the selection; after an observation; not fitted; another method. INVALID_ARGUMENT: another
 * shape; a dense parameter; a basis of another context. */
SPEFT_API speft_status speft_bind_basis(speft_adapter *adapter, int64_t parameter, speft_basis *basis,
                                        speft_error **error);

/* A new adapter without bases from one with some: of each parameter in a basis the share `density` (in (0, 1]) of its
 * scalars with the largest |ΔW|, ΔW = Vᵀ Δ̃ U, as ordinary deltas; other parameters as they are. `*ordinary` is the
 * caller's: selected, unmerged and bound to nothing, as after speft_load_adapter, with the method GIVEN_MASK. `*share`
 * is how much of Σ ΔW² over all those parameters it keeps; 1 where ΔW is 0. Either may be NULL. The adapter stays as it
 * is.
 * INVALID_STATE: before the selection; no parameter in a basis; merged; weights not bound, or of a loaded adapter not
 * known yet. INVALID_ARGUMENT: fewer scalars of a ΔW are not NaN. */
SPEFT_API speft_status speft_leave_bases(speft_adapter *adapter, double density, speft_adapter **ordinary,
                                         double *share, speft_error **error);

SPEFT_END_DECLS

#endif
