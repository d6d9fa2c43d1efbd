/* Training: gradients in, one update of the selected scalars out. */
#ifndef SPEFT_TRAINING_H
#define SPEFT_TRAINING_H

#include <stdint.h>

#include "adapter.h"
#include "error.h"
#include "export.h"
#include "gradient.h"
#include "optimizer.h"
#include "tensor.h"

SPEFT_BEGIN_DECLS

/* Adds `gradient` to the k values that parameter `parameter` has accumulated; several add up. Meant to be called from
 * the host's backward pass as each layer's gradient arrives. A dense parameter takes DENSE and ACTIVATIONS.
 * INVALID_STATE before the selection. */
SPEFT_API speft_status speft_accumulate(speft_adapter *adapter, int64_t parameter, const speft_gradient *gradient,
                                        speft_error **error);

/* Lends the accumulated values, float32 [k] on the context's device, to be read and written: clipping, all-reduce,
 * unscaling. Valid until the next select or reselect, or the adapter's end. `gradient->shape` points into the
 * adapter. When nothing has been accumulated since the last clear the values are zeros, and writing them does not
 * count as a gradient. In the window of SpIEL-AG what the host does to all values of a parameter alike, unscaling and
 * clipping, is done to its candidates too: by what became of the norm. */
SPEFT_API speft_status speft_get_gradient(speft_adapter *adapter, int64_t parameter, speft_tensor *gradient,
                                          speft_error **error);

/* Forgets what `parameter` has accumulated; −1: all parameters. */
SPEFT_API speft_status speft_clear_gradient(speft_adapter *adapter, int64_t parameter, speft_error **error);

/* The 2-norm over all that was accumulated, sparse and dense together, summed in float64 in an order that does not
 * depend on threads; and where it is above `max_norm` > 0, every value times max_norm/(norm + 1e-6), as
 * torch.nn.utils.clip_grad_norm_ does. `*norm` (may be NULL) is the norm before. `max_norm` = +inf only measures;
 * otherwise a norm that is not finite is INVALID_ARGUMENT, and nothing is scaled. */
SPEFT_API speft_status speft_clip_gradient(speft_adapter *adapter, double max_norm, double *norm,
                                           speft_error **error);

typedef struct speft_step_options {
    uint32_t struct_size;
    /* 1: keep the accumulated gradient after the step, for hosts that clear by themselves. */
    int32_t keep_gradient;
    /* One for each group, [group_count]; NULL: the defaults of optimizer.h for all. */
    const speft_hyperparameters *const *groups;
    int32_t group_count;
    /* A parameter that has received a gradient before, but none since the last clear, stays as it is. One that never
     * has since the selection is an error that names it, unless this is 1. */
    int32_t allow_missing;
    /* Multiplies every gradient; 0 stands for 1. */
    double gradient_scale;
    /* Device memory with learning rates, scale and skip flag, for captured CUDA graphs. UNSUPPORTED in this version:
     * must be NULL. */
    const speft_tensor *control;
} speft_step_options;

SPEFT_API void speft_step_options_init(speft_step_options *options, uint32_t size);

/* One update: the optimizer moves the deltas by what was accumulated, the weights become round(θ0+δ), the gradient is
 * cleared. `options` may be NULL. INVALID_STATE: not selected, unmerged, weights not bound, no gradient. */
SPEFT_API speft_status speft_step(speft_adapter *adapter, const speft_step_options *options, speft_error **error);

SPEFT_END_DECLS

#endif
