/* What a host brings to the library: parameters, views on its memory, gradients; and the few lines around each call
 * that every host writes once. Calls in here have to succeed. */
#ifndef SPEFT_TESTS_CAPI_HOST_H
#define SPEFT_TESTS_CAPI_HOST_H

#include "check.h"

static inline int file_exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

#define COUNT_OF(array) ((int64_t)(sizeof(array) / sizeof *(array)))

static const speft_dtype float32 = {SPEFT_CODE_FLOAT, 32, 1};
static const speft_dtype float16 = {SPEFT_CODE_FLOAT, 16, 1};
static const speft_dtype bfloat16 = {SPEFT_CODE_BFLOAT, 16, 1};
static const speft_dtype int64 = {SPEFT_CODE_INT, 64, 1};

/* ---- where it lives: SPEFT_TEST_BACKEND=cuda is for the emulation of a GPU, whose memory is the host's ---- */

static inline const char *test_backend(void) {
    const char *name = getenv("SPEFT_TEST_BACKEND");
    return name ? name : "cpu";
}

static inline speft_device test_device(void) {
    return (speft_device){strcmp(test_backend(), "cuda") == 0 ? SPEFT_DEVICE_CUDA : SPEFT_DEVICE_CPU, 0};
}

/* One that it is not on. */
static inline speft_device other_device(void) {
    return (speft_device){test_device().type == SPEFT_DEVICE_CPU ? SPEFT_DEVICE_CUDA : SPEFT_DEVICE_CPU, 0};
}

/* Of a view: lists of indices are in host memory on every backend. */
static inline speft_device device_of(speft_dtype dtype) {
    return dtype.code == SPEFT_CODE_INT && dtype.bits == 64 ? (speft_device){SPEFT_DEVICE_CPU, 0} : test_device();
}

/* ---- views: VECTOR and MATRIX live as long as the block they are written in ---- */

static inline speft_tensor view(const void *data, speft_dtype dtype, int32_t ndim, const int64_t *shape) {
    const speft_tensor tensor = {(void *)data, device_of(dtype), ndim, dtype, (int64_t *)shape, NULL, 0};
    return tensor;
}

#define VECTOR(data, dtype, size) (&(speft_tensor){(void *)(data), device_of(dtype), 1, dtype, (int64_t[]){size}, NULL, 0})
#define MATRIX(data, dtype, rows, columns) (&(speft_tensor){(void *)(data), device_of(dtype), 2, dtype, \
                                                            (int64_t[]){rows, columns}, NULL, 0})

/* ---- records ---- */

#define DECLARE_MATRIX(name, rows, columns) declare(name, 2, (const int64_t[]){rows, columns})
#define DECLARE_VECTOR(name, size) declare(name, 1, (const int64_t[]){size})

/* A sparse float32 parameter. */
static inline speft_parameter declare(const char *name, int32_t ndim, const int64_t *shape) {
    speft_parameter parameter;
    speft_parameter_init(&parameter, sizeof parameter);
    parameter.name = name;
    parameter.ndim = ndim;
    parameter.shape = shape;
    parameter.dtype = float32;
    return parameter;
}

static inline speft_gradient make_gradient(int32_t kind) {
    speft_gradient gradient;
    memset(&gradient, 0, sizeof gradient);
    gradient.struct_size = sizeof gradient;
    gradient.kind = kind;
    return gradient;
}

static inline speft_gradient dense_gradient(const speft_tensor *dense) {
    speft_gradient gradient = make_gradient(SPEFT_GRADIENT_DENSE);
    gradient.dense = dense;
    return gradient;
}

static inline speft_gradient values_gradient(const speft_tensor *values) {
    speft_gradient gradient = make_gradient(SPEFT_GRADIENT_VALUES);
    gradient.values = values;
    return gradient;
}

static inline speft_gradient activations_gradient(const speft_tensor *x, const speft_tensor *dy, int32_t layout) {
    speft_gradient gradient = make_gradient(SPEFT_GRADIENT_ACTIVATIONS);
    gradient.x = x;
    gradient.dy = dy;
    gradient.layout = layout;
    return gradient;
}

/* What is there is added to: a call that failed half-way is found out when it is made again. */
static inline speft_linear_options adding_products(void) {
    speft_linear_options options;
    speft_linear_options_init(&options, sizeof options);
    options.accumulate = 1;
    return options;
}

static inline speft_weights dense_weights(const speft_tensor *data) {
    speft_weights weights;
    memset(&weights, 0, sizeof weights);
    weights.struct_size = sizeof weights;
    weights.kind = SPEFT_WEIGHTS_DENSE;
    weights.data = data;
    return weights;
}

static inline speft_selection_options choose(int32_t method, int32_t scope, double density, int64_t budget) {
    speft_selection_options selection;
    speft_selection_options_init(&selection, sizeof selection);
    selection.method = method;
    selection.scope = scope;
    selection.density = density;
    selection.budget = budget;
    return selection;
}

/* ---- calls ---- */

/* Each as in the options: NULL and 0 are the defaults. */
static inline speft_context *create_context_on(const speft_allocator *allocator, int32_t threads) {
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.backend = test_backend();
    options.threads = threads;
    options.allocator = allocator;
    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));
    return context;
}

static inline speft_context *create_context(void) { return create_context_on(NULL, 0); }

enum { MOST_PARAMETERS = 8 };

static inline speft_status try_to_create(speft_context *context, const speft_selection_options *selection,
                                         const speft_optimizer_options *optimizer, const speft_parameter *parameters,
                                         int64_t count, speft_adapter **adapter) {
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = selection;
    options.optimizer = optimizer;
    const speft_parameter *pointers[MOST_PARAMETERS];
    for (int64_t i = 0; i < count; ++i) pointers[i] = &parameters[i];
    return speft_create_adapter(context, &options, pointers, count, adapter, &error);
}

static inline speft_adapter *create_adapter(speft_context *context, const speft_selection_options *selection,
                                            const speft_parameter *parameters, int64_t count) {
    speft_adapter *adapter = NULL;
    CHECK_OK(try_to_create(context, selection, NULL, parameters, count, &adapter));
    return adapter;
}

static inline speft_status try_to_bind(speft_adapter *adapter, int64_t parameter, const speft_tensor *data) {
    const speft_weights weights = dense_weights(data);
    return speft_bind_weights(adapter, parameter, &weights, &error);
}

static inline void bind(speft_adapter *adapter, int64_t parameter, const speft_tensor *data) {
    CHECK_OK(try_to_bind(adapter, parameter, data));
}

static inline void observe_dense(speft_adapter *adapter, int64_t parameter, const speft_tensor *dense) {
    const speft_gradient gradient = dense_gradient(dense);
    CHECK_OK(speft_observe(adapter, parameter, &gradient, &error));
}

static inline void accumulate_dense(speft_adapter *adapter, int64_t parameter, const speft_tensor *dense) {
    const speft_gradient gradient = dense_gradient(dense);
    CHECK_OK(speft_accumulate(adapter, parameter, &gradient, &error));
}

/* A mask in place of a selection: what most tests of training start from. */
static inline void give_mask(speft_adapter *adapter, int64_t parameter, const int64_t *indices, int64_t count) {
    CHECK_OK(speft_set_mask(adapter, parameter, VECTOR(indices, int64, count), &error));
}

static inline int64_t count_selected(speft_adapter *adapter, int64_t parameter) {
    int64_t count = -1;
    CHECK_OK(speft_get_selected_count(adapter, parameter, &count, &error));
    return count;
}

/* The mask, into `indices` with room for `capacity`; returns its length. */
static inline int64_t read_mask(speft_adapter *adapter, int64_t parameter, int64_t *indices, int64_t capacity) {
    const int64_t count = count_selected(adapter, parameter);
    if (count > capacity) abort();
    CHECK_OK(speft_get_mask(adapter, parameter, VECTOR(indices, int64, count), &error));
    return count;
}

/* Lent: the deltas in the mask's order. */
static inline const float *lend_deltas(speft_adapter *adapter, int64_t parameter) {
    speft_tensor deltas;
    CHECK_OK(speft_get_deltas(adapter, parameter, &deltas, &error));
    return (const float *)((const char *)deltas.data + deltas.byte_offset);
}

/* Lent: what has been accumulated, in the mask's order. */
static inline float *lend_gradient(speft_adapter *adapter, int64_t parameter) {
    speft_tensor gradient;
    CHECK_OK(speft_get_gradient(adapter, parameter, &gradient, &error));
    return (float *)((char *)gradient.data + gradient.byte_offset);
}

static inline speft_adapter_state read_state(speft_adapter *adapter) {
    speft_adapter_state state;
    memset(&state, 0, sizeof state);
    state.struct_size = sizeof state;
    CHECK_OK(speft_get_adapter_state(adapter, &state, &error));
    return state;
}

#endif
