/* What was selected and what was learned. All INVALID_STATE before the selection. */
#ifndef SPEFT_MASK_H
#define SPEFT_MASK_H

#include <stdint.h>

#include "adapter.h"
#include "error.h"
#include "export.h"
#include "tensor.h"

SPEFT_BEGIN_DECLS

/* k of one parameter: the length of its mask, deltas and gradient. For a dense parameter all of its scalars. */
SPEFT_API speft_status speft_get_selected_count(speft_adapter *adapter, int64_t parameter, int64_t *count,
                                                speft_error **error);

/* Writes the strictly increasing flat indices into `indices`, the caller's int64 [k] in host memory. */
SPEFT_API speft_status speft_get_mask(speft_adapter *adapter, int64_t parameter, const speft_tensor *indices,
                                      speft_error **error);

/* Lends the deltas, [k] in the mask's order, float32 or what speft_adapter_options.delta_type says, on the context's
 * device, to be read; of a dense parameter the float32 values that it is trained as. `deltas->shape` points into the
 * adapter. Valid until the next select or reselect, or the adapter's end. */
SPEFT_API speft_status speft_get_deltas(speft_adapter *adapter, int64_t parameter, speft_tensor *deltas,
                                        speft_error **error);

/* The age of each selected scalar, the number of updates behind its moments, into `ages`, the caller's int64 [k] in
 * host memory, in the mask's order. All are the parameter's number of updates unless they are kept for each weight
 * (optimizer.h). */
SPEFT_API speft_status speft_get_ages(speft_adapter *adapter, int64_t parameter, const speft_tensor *ages,
                                      speft_error **error);

/* What rounding θ0+δ to the weight's type takes from what was learned: Σ |δ − (round(θ0+δ) − θ0)| / Σ |δ| over the
 * selected scalars of `parameter`, or of all sparse parameters with −1; 0 when every δ is 0. bfloat16 weights around
 * 0.02 lose 0.4% of deltas around 1e-2, and a third of those around 1e-4. A dense parameter is refused.
 * INVALID_STATE while the original bits are not known: a loaded adapter, before its first merge. */
SPEFT_API speft_status speft_measure_rounding_loss(speft_adapter *adapter, int64_t parameter, double *share,
                                                   speft_error **error);

SPEFT_END_DECLS

#endif
