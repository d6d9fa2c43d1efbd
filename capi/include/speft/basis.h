/* A basis in which gradients are sparse (SparseGrad): orthogonal U and V for the matrices of one kind.
 *
 * UNSUPPORTED in this version. */
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

/* The shape of the matrices. */
typedef struct speft_basis_options {
    uint32_t struct_size;
    int32_t reserved;
    int64_t rows;
    int64_t columns;
} speft_basis_options;

SPEFT_API void speft_basis_options_init(speft_basis_options *options, uint32_t size);

/* For matrices of `rows` × `columns`; accumulates Σ dW dWᵀ and Σ dWᵀ dW as gradients are observed. */
SPEFT_API speft_status speft_create_basis(speft_context *context, const speft_basis_options *options,
                                          speft_basis **basis, speft_error **error);

/* Takes NULL. */
SPEFT_API void speft_destroy_basis(speft_basis *basis);

/* Adds one gradient of one of them: dense, or from activations. */
SPEFT_API speft_status speft_observe_basis(speft_basis *basis, const speft_gradient *gradient, speft_error **error);

/* The eigenvectors, as rows, eigenvalues falling, the largest |entry| of each row positive. */
SPEFT_API speft_status speft_fit_basis(speft_basis *basis, const speft_progress *progress, speft_error **error);

/* Lends U [columns, columns] and V [rows, rows], float32; valid as long as the basis. */
SPEFT_API speft_status speft_get_basis(speft_basis *basis, speft_tensor *u, speft_tensor *v, speft_error **error);

/* Trains `parameter` in `basis`, which the adapter keeps alive. NULL: the ordinary basis. */
SPEFT_API speft_status speft_bind_basis(speft_adapter *adapter, int64_t parameter, speft_basis *basis,
                                        speft_error **error);

SPEFT_END_DECLS

#endif
