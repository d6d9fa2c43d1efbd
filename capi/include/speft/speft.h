/* libspeft: sparse parameter-efficient fine-tuning.
 *
 * The host owns the model, the data and automatic differentiation; the library owns which weights move, how they
 * move, and what is kept of it. Start with adapter.h, which tells an adapter's whole life.
 *
 * Every fallible call has the shape
 *
 *     speft_status speft_x(handle, const options *, inputs…, outputs…, speft_error **error);
 *
 * - Nothing aborts, exits, prints or throws. A failing call leaves its outputs (but `*error`) and the adapter as they
 *   were. A NULL where none is allowed is INVALID_ARGUMENT, and names the argument.
 * - Structs begin with `uint32_t struct_size`, the caller's sizeof; their `_init` fills in defaults. Fields are only
 *   ever appended. A struct longer than the library's is taken if the unknown tail is zero.
 * - `_init`, `speft_count_…`, `speft_get_…_name` and the release functions cannot fail.
 * - Indices and sizes are 64-bit and count in the whole parameter, row-major. */
#ifndef SPEFT_SPEFT_H
#define SPEFT_SPEFT_H

#include "adapter.h"
#include "basis.h"
#include "communicator.h"
#include "context.h"
#include "error.h"
#include "export.h"
#include "gradient.h"
#include "linear.h"
#include "mask.h"
#include "memory.h"
#include "merge.h"
#include "optimizer.h"
#include "quantization.h"
#include "selection.h"
#include "status.h"
#include "storage.h"
#include "tensor.h"
#include "training.h"
#include "version.h"
#include "weights.h"

#endif
