/* What an adapter will need, before it is created. */
#ifndef SPEFT_MEMORY_H
#define SPEFT_MEMORY_H

#include <stdint.h>

#include "adapter.h"
#include "basis.h"
#include "context.h"
#include "error.h"
#include "export.h"

SPEFT_BEGIN_DECLS

/* The most that an adapter has at one time, in bytes of the context's device, in each part of its life: its own arrays
 * and the scratch of the operations that run in it. What the host lends is not in it, nor the copies that a save, a
 * load or a merge makes for a moment. */
typedef struct speft_memory_plan {
    uint32_t struct_size;
    int32_t reserved;
    /* To be set before the call: the most tokens that one gradient from activations will have; 0 for any number.
     * Scratch is bounded, but smaller for few tokens. */
    int64_t tokens;
    /* While gradients are observed: two float32 accumulators a sparse parameter, or one where the weight of each
     * batch is announced. Given scores and references count as one. */
    uint64_t observation;
    uint64_t announced_observation;
    /* While `speft_select` runs, after announced observations. */
    uint64_t selection;
    /* From the selection on, while gradients arrive and steps are taken. SpIEL-AG: with its candidates, and with x and
     * dy of `tokens` a parameter (0: one gradient of 2,048), or one accumulator, held in the first step of a window. */
    uint64_t training;
    /* While `speft_reselect` runs; 0 where masks do not move. Dynamic masks: with accumulators as in `observation`, and
     * with as many settled scalars as settled_limit says, or selected ones without it. */
    uint64_t reselection;
    /* To be set before the call, for SPARSEGRAD: one pointer a parameter, the options of the basis that it will be
     * bound to, NULL for a dense one. Parameters with the same pointer share one basis. NULL: no bases. All of the above
     * is then with U and V of each, as adapters keep them when the basis is destroyed. */
    const speft_basis_options *const *bases;
    /* While bases are made, as long as none is destroyed: all observe, then one after the other is fitted and bound. */
    uint64_t fitting;
    /* While `speft_linear_forward` or `speft_linear_backward` runs for one parameter of dense weights, and gradients of
     * all the others are held; 0 where no sparse parameter has 2 axes. 0 tokens: 2,048. */
    uint64_t products;
    /* While an adapter with bases is merged, and as long as it is: with a copy of the weights; 0 without bases. */
    uint64_t merging;
} speft_memory_plan;

/* Fills `*plan`, whose struct_size, tokens and bases the caller has set. Takes what `speft_create_adapter` takes;
 * nothing is allocated on the device. Gradients of sparse parameters are taken to come from activations in the
 * weights' types where they have 2 axes, and those of Fisher scores with example_offsets; AdamW's tables are those of
 * the default betas, SGD has momentum; Bernoulli draws select what is expected of them. Given masks have no size yet
 * and are refused: plan for random ones of the same budget. The mask of MEPROP and SPARSEGRAD is taken to grow to as
 * many scalars beside those of a step as settled_limit says, or to twice the budget without it. On quantized weights the
 * same is needed; what is not in the plan is that speft_select and speft_reselect then also have the values of one of
 * them in the parameter's type (of all that a global ranking reads), and merging a copy of codes and scales.
 * INVALID_ARGUMENT: a parameter of SPARSEGRAD without a basis, a basis of another shape, or one with another method. */
SPEFT_API speft_status speft_plan_memory(speft_context *context, const speft_adapter_options *options,
                                         const speft_parameter *const *parameters, int64_t count,
                                         speft_memory_plan *plan, speft_error **error);

SPEFT_END_DECLS

#endif
