/* The trained weights in the host's memory, and the original bits back. */
#ifndef SPEFT_MERGE_H
#define SPEFT_MERGE_H

#include <stdint.h>

#include "adapter.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* Writes round(θ0+δ) into the bound weights. Does nothing when merged already (as after select and every step).
 * A parameter in a basis (basis.h) becomes round(W + Vᵀ Δ̃ U), all of it. Of a quantized one the blocks that have a
 * delta are dequantized, added to and quantized anew, by the scale that they had or that of their new maximum, whichever
 * has the smaller error; the others keep their codes. Deltas that are smaller than half a step between two levels are
 * lost (speft_get_requantization). Of both the adapter keeps a copy of all that was there until it is unmerged or
 * attached, and cannot be trained meanwhile.
 * The first merge after a load keeps the original bits, and refuses a base model other than the one it was trained
 * on (INVALID_ARGUMENT, by the hash in the file; nothing is written). Where the original bits are known, after a
 * checkpoint's load or an unmerge, a parameter may also hold round(θ0+δ) already: a host that has restored its own
 * checkpoint of the model. One in a basis may not, nor a quantized one: they must have their original bits.
 * INVALID_STATE: not selected; weights not bound; another adapter is merged into the same memory. */
SPEFT_API speft_status speft_merge(speft_adapter *adapter, speft_error **error);

/* Puts what was learned into effect as training needs it, which is how speft_select leaves it: merged, but parameters
 * that are trained beside their weights (in a basis, or quantized) have their original bits, and speft_linear_…
 * (linear.h) apply their deltas. Does nothing when attached already. Where there is no such parameter it is
 * speft_merge. Errors as of speft_merge and speft_unmerge. */
SPEFT_API speft_status speft_attach(speft_adapter *adapter, speft_error **error);

/* Writes the original bits back. Does nothing when unmerged already. INVALID_STATE, with nothing written, when a
 * weight is no longer what this adapter wrote there: "weights changed behind the adapter". */
SPEFT_API speft_status speft_unmerge(speft_adapter *adapter, speft_error **error);

/* What quantizing anew has left of the deltas. */
typedef struct speft_requantization {
    uint32_t struct_size;
    int32_t reserved;
    int64_t deltas;  /* scalars with a delta */
    int64_t changed; /* of those, how many have got another code; a new scale alone does not count */
    /* ‖ŵ − w‖ / ‖w‖ over the blocks that were quantized anew: w = dequantized + δ, ŵ as it is dequantized now. */
    double relative_error;
} speft_requantization;

/* Of one quantized parameter, or of all with −1. Fills `*requantization`, whose struct_size the caller has set.
 * INVALID_STATE but while merged by speft_merge; INVALID_ARGUMENT for a parameter whose weights are dense. */
SPEFT_API speft_status speft_get_requantization(speft_adapter *adapter, int64_t parameter,
                                                speft_requantization *requantization, speft_error **error);

SPEFT_END_DECLS

#endif
