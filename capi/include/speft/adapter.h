/* An adapter: for each targeted parameter a mask, deltas, the original values and the optimizer's state.
 *
 * Its life:
 *
 *     speft_create_adapter        declares the parameters: names, shapes, types
 *     speft_bind_weights          lends the host's memory, one call a parameter
 *     speft_observe …             (selection.h) saliences
 *     speft_select                the masks are chosen; the weights equal round(θ0+δ) from here on
 *     speft_accumulate …          (training.h) gradients, while the host's backward pass runs
 *     speft_step                  updates the weights in place
 *     speft_reselect              (selection.h) moves the masks, where they do
 *     speft_unmerge, speft_merge  (merge.h) the original bits, and the trained weights again
 *     speft_save_adapter          (storage.h)
 *     speft_destroy_adapter       leaves the weights as they are
 *
 * A call that fails leaves the adapter and the weights as they were. For the threads see context.h. */
#ifndef SPEFT_ADAPTER_H
#define SPEFT_ADAPTER_H

#include <stdint.h>

#include "communicator.h"
#include "context.h"
#include "error.h"
#include "export.h"
#include "tensor.h"
#include "weights.h"

SPEFT_BEGIN_DECLS

typedef struct speft_adapter speft_adapter;

struct speft_selection_options;
struct speft_optimizer_options;

/* `speft_parameter.role` */
enum {
    /* A mask of its scalars is trained. */
    SPEFT_ROLE_SPARSE = 0,
    /* All of it is trained, by the same optimizer, and it travels in the same file: a new head. It is trained, kept and
     * stored as float32 values, not as a difference: the weights equal their rounding, whatever a fresh model's head
     * holds; weight decay pulls it to 0. Unmerging restores the bits that were there before. */
    SPEFT_ROLE_DENSE = 1
};

/* `speft_parameter.part`: what this process holds. Only WHOLE in this version. */
enum {
    SPEFT_PART_WHOLE = 0,
    /* Scalars [offset[0], offset[0] + extent[0]) of the flattened parameter (FSDP). */
    SPEFT_PART_RANGE = 1,
    /* [offset[i], offset[i] + extent[i]) along each axis i (tensor parallelism). */
    SPEFT_PART_BLOCK = 2
};

/* One parameter of the host's model. Names are unique within an adapter, UTF-8, not empty. */
typedef struct speft_parameter {
    uint32_t struct_size;
    int32_t role;
    const char *name;
    /* The shape of the whole parameter, [ndim]; each size >= 0; fewer than 2^32 scalars in all. */
    const int64_t *shape;
    int32_t ndim;
    /* float32, bfloat16 or float16. */
    speft_dtype dtype;
    int32_t part;
    /* Which of the hyperparameters of a step apply to it: 0 for all, unless the host has groups. */
    int32_t group;
    /* Of the part: [1] for a range, [ndim] for a block; NULL for the whole. */
    const int64_t *offset;
    const int64_t *extent;
} speft_parameter;

/* `speft_adapter_options.delta_type` */
enum {
    SPEFT_DELTA_FLOAT32 = 0,
    /* 2 bytes a weight less. A step rounds each delta up or down at random (from the seed, the parameter's name and the
     * number of the step), so that updates below half a unit in the last place are kept on average; the same inputs
     * give the same bits. Dense parameters stay float32. */
    SPEFT_DELTA_BFLOAT16 = 1
};

typedef struct speft_adapter_options {
    uint32_t struct_size;
    int32_t delta_type;
    /* NULL for the defaults of selection.h and optimizer.h; of SPIEL_MA that is SM3. Copied. */
    const struct speft_selection_options *selection;
    const struct speft_optimizer_options *optimizer;
    /* NULL when there is one process. Copied. */
    const speft_communicator *communicator;
} speft_adapter_options;

SPEFT_API void speft_adapter_options_init(speft_adapter_options *options, uint32_t size);
/* Defaults: sparse, float32, whole, group 0. */
SPEFT_API void speft_parameter_init(speft_parameter *parameter, uint32_t size);

/* Everything is copied. `count` >= 1, and at least one scalar among them. On success `*adapter` is owned by the
 * caller and keeps the context alive. INVALID_ARGUMENT names the parameter and the field; UNSUPPORTED names what this
 * version does not have. Parameters are known by their position from here on.
 *
 *     int64_t shape[2] = {384, 384};
 *     speft_parameter p; speft_parameter_init(&p, sizeof p);
 *     p.name = "encoder.0.query.weight"; p.shape = shape; p.ndim = 2;
 *     p.dtype = (speft_dtype){SPEFT_CODE_FLOAT, 32, 1};
 *     const speft_parameter *all[] = {&p};
 *     speft_create_adapter(context, &options, all, 1, &adapter, &error);
 */
SPEFT_API speft_status speft_create_adapter(speft_context *context, const speft_adapter_options *options,
                                            const speft_parameter *const *parameters, int64_t count,
                                            speft_adapter **adapter, speft_error **error);

/* Takes NULL. The weights stay as they are, merged or not. */
SPEFT_API void speft_destroy_adapter(speft_adapter *adapter);

/* Lends the memory of one parameter until it is bound again, unbound with NULL, or the adapter is gone; the structs
 * are copied. Nothing is read or written here: only select, step, reselect, merge and unmerge touch the memory, between
 * their call and their return. It may be bound to other memory before any call, if the contents have moved with it.
 * Shape, type and device must be the parameter's and the context's. Of quantized weights the parameter's type is what
 * they are dequantized to where a call takes their values (saliences, the hash of the base in a file), and scales that
 * are negative or not finite are refused; while the adapter is attached or merged, dense and quantized weights do not
 * take each other's place. UNSUPPORTED: quantized weights of a parameter in a basis.
 * While the adapter is merged its memory is claimed, and a binding that overlaps a claim is INVALID_STATE: another
 * adapter's, or another parameter's of this one. Where several parameters have moved, perhaps into each other's old
 * places, unbind all of them first: NULL gives the claim back. */
SPEFT_API speft_status speft_bind_weights(speft_adapter *adapter, int64_t parameter, const speft_weights *weights,
                                          speft_error **error);

/* ---- what is in it ---- */

/* 0 for NULL. */
SPEFT_API int64_t speft_count_parameters(const speft_adapter *adapter);

/* Fills `*parameter`, whose struct_size the caller has set; its strings and arrays live as long as the adapter. */
SPEFT_API speft_status speft_get_parameter(speft_adapter *adapter, int64_t parameter, speft_parameter *info,
                                           speft_error **error);

typedef struct speft_adapter_state {
    uint32_t struct_size;
    int32_t selected; /* 1 after select, or when loaded from a file */
    int32_t merged;   /* 1 while the weights hold round(θ0+δ), those in a basis too */
    int32_t method;   /* SPEFT_SELECT_… */
    int64_t steps;    /* updates so far */
    int64_t observations;
    int64_t selected_scalars; /* over all sparse parameters */
    int64_t trained_scalars;  /* and the dense ones */
    int64_t targeted_scalars; /* of all sparse parameters together, or of their bases: what density is a fraction of */
    int64_t settled_scalars;  /* no longer selected, but changed: dynamic masks */
    int64_t next_reselection; /* the step after which the next one comes (now, when due); 0: none, or one a step */
    int32_t reselection_due;  /* 1: speft_reselect has to come before the next step */
    int32_t attached;         /* 1 while steps can be taken: merge.h */
} speft_adapter_state;

/* Fills `*state`, whose struct_size the caller has set. */
SPEFT_API speft_status speft_get_adapter_state(speft_adapter *adapter, speft_adapter_state *state,
                                               speft_error **error);

SPEFT_END_DECLS

#endif
