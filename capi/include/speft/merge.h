/* The trained weights in the host's memory, and the original bits back. */
#ifndef SPEFT_MERGE_H
#define SPEFT_MERGE_H

#include "adapter.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* Writes round(θ0+δ) into the bound weights. Does nothing when merged already (as after select and every step).
 * A parameter in a basis (basis.h) becomes round(W + Vᵀ Δ̃ U), all of it; the adapter keeps a copy of W until it is
 * unmerged or attached, and cannot be trained meanwhile.
 * The first merge after a load keeps the original bits, and refuses a base model other than the one it was trained
 * on (INVALID_ARGUMENT, by the hash in the file; nothing is written). Where the original bits are known, after a
 * checkpoint's load or an unmerge, a parameter may also hold round(θ0+δ) already: a host that has restored its own
 * checkpoint of the model. One in a basis may not: it must have its original bits, by their hash.
 * INVALID_STATE: not selected; weights not bound; another adapter is merged into the same memory. */
SPEFT_API speft_status speft_merge(speft_adapter *adapter, speft_error **error);

/* Puts what was learned into effect as training needs it, which is how speft_select leaves it: merged, but parameters
 * in a basis have their original bits, and speft_linear_… (linear.h) apply their deltas. Does nothing when attached
 * already. Where no parameter is in a basis it is speft_merge. Errors as of speft_merge and speft_unmerge. */
SPEFT_API speft_status speft_attach(speft_adapter *adapter, speft_error **error);

/* Writes the original bits back. Does nothing when unmerged already. INVALID_STATE, with nothing written, when a
 * weight is no longer what this adapter wrote there: "weights changed behind the adapter". */
SPEFT_API speft_status speft_unmerge(speft_adapter *adapter, speft_error **error);

SPEFT_END_DECLS

#endif
