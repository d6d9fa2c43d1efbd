/* The trained weights in the host's memory, and the original bits back. */
#ifndef SPEFT_MERGE_H
#define SPEFT_MERGE_H

#include "adapter.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* Writes round(θ0+δ) into the bound weights. Does nothing when merged already (as after select and every step).
 * The first merge after a load keeps the original bits, and refuses a base model other than the one it was trained
 * on (INVALID_ARGUMENT, by the hash in the file; nothing is written). Where the original bits are known, after a
 * checkpoint's load or an unmerge, a parameter may also hold round(θ0+δ) already: a host that has restored its own
 * checkpoint of the model.
 * INVALID_STATE: not selected; weights not bound; another adapter is merged into the same memory. */
SPEFT_API speft_status speft_merge(speft_adapter *adapter, speft_error **error);

/* Writes the original bits back. Does nothing when unmerged already. INVALID_STATE, with nothing written, when a
 * selected weight is no longer what this adapter wrote there: "weights changed behind the adapter". */
SPEFT_API speft_status speft_unmerge(speft_adapter *adapter, speft_error **error);

SPEFT_END_DECLS

#endif
