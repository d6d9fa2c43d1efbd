#include "finetune.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"

static const speft_dtype float32 = {SPEFT_CODE_FLOAT, 32, 1};
static const double largest_norm = 1.0;

/* Every call of libspeft ends here: check(speft_x(…, &error), &error). */
static void check(speft_status status, speft_error **error) {
    if (status != SPEFT_OK) fail("libspeft: %s: %s", speft_get_status_name(status), speft_get_error_message(*error));
}

/* A view on `data` [rows, columns]; `shape` has to live as long as the view. */
static speft_tensor view_matrix(float *data, int64_t shape[2]) {
    return (speft_tensor){.data = data, .device = {SPEFT_DEVICE_CPU, 0}, .ndim = 2, .dtype = float32, .shape = shape};
}

speft_context *open_context(void) {
    speft_error *error;
    speft_context *context;
    check(speft_create_context(NULL, &context, &error), &error);
    return context;
}

static int find_layer(const struct model *model, const char *name) {
    for (int l = 0; l < LAYERS; ++l)
        if (strcmp(model->layers[l].name, name) == 0) return l;
    fail("the model has no layer '%s'", name);
}

/* Parameters are known by their position: here that of the layer, in a file that of the adapter that was saved. */
static void bind_weights(speft_adapter *adapter, const struct model *model) {
    speft_error *error;
    for (int64_t i = 0; i < speft_count_parameters(adapter); ++i) {
        speft_parameter parameter = {.struct_size = sizeof parameter};
        check(speft_get_parameter(adapter, i, &parameter, &error), &error);
        const struct layer *layer = &model->layers[find_layer(model, parameter.name)];
        const speft_tensor data = view_matrix(layer->weights, (int64_t[]){layer->in, layer->out});
        const speft_weights weights = {.struct_size = sizeof weights, .kind = SPEFT_WEIGHTS_DENSE, .data = &data};
        check(speft_bind_weights(adapter, i, &weights, &error), &error);
    }
}

static speft_parameter declare_layer(const struct model *model, int l, int64_t shape[2]) {
    const struct layer *layer = &model->layers[l];
    shape[0] = layer->in;
    shape[1] = layer->out;
    speft_parameter parameter;
    speft_parameter_init(&parameter, sizeof parameter);
    parameter.name = layer->name;
    parameter.shape = shape;
    parameter.ndim = 2;
    parameter.dtype = float32;
    parameter.role = l == HEAD ? SPEFT_ROLE_DENSE : SPEFT_ROLE_SPARSE;
    return parameter;
}

speft_adapter *create_adapter(speft_context *context, const struct model *model, double density) {
    int64_t shapes[LAYERS][2];
    speft_parameter parameters[LAYERS];
    const speft_parameter *pointers[LAYERS];
    for (int l = 0; l < LAYERS; ++l) {
        parameters[l] = declare_layer(model, l, shapes[l]);
        pointers[l] = &parameters[l];
    }
    speft_selection_options selection;
    speft_selection_options_init(&selection, sizeof selection);
    selection.method = SPEFT_SELECT_GRADIENT;
    selection.density = density;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;

    speft_error *error;
    speft_adapter *adapter;
    check(speft_create_adapter(context, &options, pointers, LAYERS, &adapter, &error), &error);
    bind_weights(adapter, model);
    return adapter;
}

speft_adapter *load_adapter(speft_context *context, const char *path, const struct model *model) {
    speft_error *error;
    speft_adapter *adapter;
    check(speft_load_adapter(context, NULL, path, &adapter, &error), &error);
    bind_weights(adapter, model);
    return adapter;
}

/* speft_observe or speft_accumulate. */
typedef speft_status take_gradient(speft_adapter *, int64_t, const speft_gradient *, speft_error **);

/* x and dy are all that a layer gives: no dW is formed here. */
static void hand_over_activations(speft_adapter *adapter, const struct model *model, int l, int64_t rows,
                                  take_gradient *take) {
    const struct layer *layer = &model->layers[l];
    const speft_tensor x = view_matrix(model->values[l], (int64_t[]){rows, layer->in});
    const speft_tensor dy = view_matrix(model->slopes[l + 1], (int64_t[]){rows, layer->out});
    const speft_gradient gradient = {
        .struct_size = sizeof gradient,
        .kind = SPEFT_GRADIENT_ACTIVATIONS,
        .layout = SPEFT_LAYOUT_IN_OUT,
        .x = &x,
        .dy = &dy,
    };
    speft_error *error;
    check(take(adapter, l, &gradient, &error), &error);
}

/* All of the head is trained: there is nothing to choose. */
static void observe_layer(void *adapter, struct model *model, int l, int64_t rows) {
    if (l != HEAD) hand_over_activations(adapter, model, l, rows, speft_observe);
}

static void accumulate_layer(void *adapter, struct model *model, int l, int64_t rows) {
    hand_over_activations(adapter, model, l, rows, speft_accumulate);
}

void select_weights(speft_adapter *adapter, struct model *model, const struct reviews *reviews) {
    speft_error *error;
    for (int64_t first = 0; first < reviews->count; first += BATCH) {
        const struct reviews batch = take_reviews(reviews, first, BATCH);
        check(speft_begin_observation(adapter, (double)batch.count, &error), &error);
        run_batch(model, &batch, observe_layer, adapter);
        check(speft_finish_observation(adapter, 0, &error), &error);
    }
    check(speft_select(adapter, NULL, &error), &error);
}

void train_adapter(speft_adapter *adapter, struct model *model, struct reviews *reviews, int epochs, double rate) {
    speft_error *error;
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = (const speft_hyperparameters *[]){&hyperparameters};
    options.group_count = 1;

    const double total = (double)(epochs * reviews->count);
    uint64_t random = 2;
    for (int epoch = 0; epoch < epochs; ++epoch) {
        shuffle_reviews(reviews, &random);
        for (int64_t first = 0; first < reviews->count; first += BATCH) {
            const struct reviews batch = take_reviews(reviews, first, BATCH);
            run_batch(model, &batch, accumulate_layer, adapter);
            check(speft_clip_gradient(adapter, largest_norm, NULL, &error), &error);
            hyperparameters.learning_rate = rate * (1 - (double)(epoch * reviews->count + first) / total);
            check(speft_step(adapter, &options, &error), &error);
        }
    }
}

void save_adapter(speft_adapter *adapter, const char *path) {
    speft_error *error;
    check(speft_save_adapter(adapter, NULL, path, &error), &error);
}

void merge_adapter(speft_adapter *adapter) {
    speft_error *error;
    check(speft_merge(adapter, &error), &error);
}

void unmerge_adapter(speft_adapter *adapter) {
    speft_error *error;
    check(speft_unmerge(adapter, &error), &error);
}

int64_t count_trained(speft_adapter *adapter) {
    speft_error *error;
    speft_adapter_state state = {.struct_size = sizeof state};
    check(speft_get_adapter_state(adapter, &state, &error), &error);
    return state.trained_scalars;
}
