/* The C API as SWIG sees it: what the bindings of all languages share.
 *
 * A binding's own interface file names the module, declares the typemaps of its language, and then includes this
 * file. Typemaps must come first, because the headers' declarations are wrapped as they are read. The parameters that
 * need typemaps are:
 *
 *     speft_context **context, speft_adapter **adapter, **ordinary, speft_basis **basis    a new handle, the caller's
 *     speft_error **error                                                       always the last parameter
 *     speft_adapter *const *adapters, const int64_t *parameters                 arrays of the host's
 *     speft_tensor *gradient, *deltas, *u, *v                                    a view on the library's memory
 *     const speft_tensor *                                                      a view on the host's memory
 *     int64_t *count, double *norm, double *share, const char **name            a plain result */

%include <stdint.i>

/* Visibility means nothing to SWIG: the attribute that SPEFT_API stands for is left out. */
#define SPEFT_STATIC

%{
#include <stdlib.h>

#include "speft/speft.h"
%}

/* A struct is made as its header asks: struct_size set and the defaults filled in, or all else zero. */
%define SPEFT_OPTIONS(name)
%extend name {
    name() {
        name *self = calloc(1, sizeof(name));
        if (self) name##_init(self, sizeof *self);
        return self;
    }
}
%enddef

%define SPEFT_RECORD(name)
%extend name {
    name() {
        name *self = calloc(1, sizeof(name));
        if (self) self->struct_size = sizeof *self;
        return self;
    }
}
%enddef

SPEFT_OPTIONS(speft_adapter_options)
SPEFT_OPTIONS(speft_basis_options)
SPEFT_OPTIONS(speft_context_options)
SPEFT_OPTIONS(speft_hyperparameters)
SPEFT_OPTIONS(speft_linear_options)
SPEFT_OPTIONS(speft_load_options)
SPEFT_OPTIONS(speft_optimizer_options)
SPEFT_OPTIONS(speft_parameter)
SPEFT_OPTIONS(speft_save_options)
SPEFT_OPTIONS(speft_schedule_options)
SPEFT_OPTIONS(speft_selection_options)
SPEFT_OPTIONS(speft_step_options)

SPEFT_RECORD(speft_adapter_state)
SPEFT_RECORD(speft_allocator)
SPEFT_RECORD(speft_backend_info)
SPEFT_RECORD(speft_basis_state)
SPEFT_RECORD(speft_communicator)
SPEFT_RECORD(speft_gradient)
SPEFT_RECORD(speft_logger)
SPEFT_RECORD(speft_memory_plan)
SPEFT_RECORD(speft_parallel_for)
SPEFT_RECORD(speft_progress)
SPEFT_RECORD(speft_quantization)
SPEFT_RECORD(speft_requantization)
SPEFT_RECORD(speft_reselection)
SPEFT_RECORD(speft_score_function)
SPEFT_RECORD(speft_weights)
SPEFT_RECORD(speft_writer)

%apply speft_adapter **adapter { speft_adapter **ordinary };

%include "speft/export.h"
%include "speft/status.h"
%include "speft/version.h"
%include "speft/error.h"
%include "speft/tensor.h"
%include "speft/context.h"
%include "speft/communicator.h"
%include "speft/weights.h"
%include "speft/gradient.h"
%include "speft/adapter.h"
%include "speft/selection.h"
%include "speft/optimizer.h"
%include "speft/training.h"
%include "speft/mask.h"
%include "speft/merge.h"
%include "speft/storage.h"
%include "speft/basis.h"
%include "speft/memory.h"
%include "speft/linear.h"
%include "speft/quantization.h"
