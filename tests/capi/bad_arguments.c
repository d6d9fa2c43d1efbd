/* An argument that is wrong in itself is told by name, and neither the adapter nor the weights have changed. */
#include "scene.h"

static const char *const path = "bad_arguments.safetensors";

/* ---- NULL ---- */

static void test_null_adapters(void) {
    float data[4] = {0};
    int64_t indices[4] = {0}, count = 0;
    const speft_tensor *tensor = VECTOR(data, float32, 4);
    const speft_gradient gradient = dense_gradient(tensor);
    const speft_weights weights = dense_weights(tensor);
    speft_tensor lent;
    speft_parameter info;
    speft_parameter_init(&info, sizeof info);
    speft_adapter_state state = {.struct_size = sizeof state};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_bind_weights(NULL, 0, &weights, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_parameter(NULL, 0, &info, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_adapter_state(NULL, &state, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_begin_observation(NULL, 1, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_observe(NULL, 0, &gradient, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_finish_observation(NULL, 1, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_clear_observations(NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_set_mask(NULL, 0, VECTOR(indices, int64, 4), &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_set_scores(NULL, 0, tensor, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_select(NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_accumulate(NULL, 0, &gradient, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_gradient(NULL, 0, &lent, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_clear_gradient(NULL, 0, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_clip_gradient(NULL, 1, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_step(NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_merge(NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_unmerge(NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_selected_count(NULL, 0, &count, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_mask(NULL, 0, VECTOR(indices, int64, 4), &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_get_deltas(NULL, 0, &lent, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_save_adapter(NULL, NULL, path, &error));
    CHECK_EQUAL(speft_count_parameters(NULL), 0);
    speft_destroy_adapter(NULL);
}

static void test_null_arguments(void) {
    struct scene fresh, trained;
    start_scene(&fresh);
    start_trained_scene(&trained);
    speft_adapter *const adapter = trained.adapter;
    CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "gradient", speft_observe(fresh.adapter, 0, NULL, &error));
    CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "indices", speft_set_mask(fresh.adapter, 0, NULL, &error));
    CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "scores", speft_set_scores(fresh.adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "gradient", speft_accumulate(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "gradient", speft_get_gradient(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "deltas", speft_get_deltas(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "indices", speft_get_mask(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "count", speft_get_selected_count(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "info", speft_get_parameter(adapter, 0, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "state", speft_get_adapter_state(adapter, NULL, &error));
    CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "path", speft_save_adapter(adapter, NULL, NULL, &error));

    speft_adapter *loaded = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_load_adapter(NULL, NULL, path, &loaded, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "path", speft_load_adapter(fresh.context, NULL, NULL, &loaded, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_load_adapter(fresh.context, NULL, path, NULL, &error));
    CHECK(loaded == NULL);
    destroy_scene(&fresh);
    destroy_scene(&trained);
}

static void test_null_members(void) {
    struct scene scene;
    start_trained_scene(&scene);
    speft_weights weights = dense_weights(NULL);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "data", speft_bind_weights(scene.adapter, QUERY, &weights, &error));
    speft_tensor tensor = scene.weight_views[QUERY];
    weights.data = &tensor;
    tensor.data = NULL;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "data", speft_bind_weights(scene.adapter, QUERY, &weights, &error));
    tensor = scene.weight_views[QUERY];
    tensor.shape = NULL;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "shape",
                  speft_bind_weights(scene.adapter, QUERY, &weights, &error));

    speft_gradient gradient = dense_gradient(NULL);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "dense", speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    gradient = values_gradient(NULL);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "values",
                  speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    gradient = activations_gradient(NULL, &tensor, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "x", speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    gradient = activations_gradient(&scene.weight_views[QUERY], NULL, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "dy", speft_accumulate(scene.adapter, QUERY, &gradient, &error));

    const speft_progress progress = {sizeof progress, NULL, NULL};
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.progress = &progress;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "report",
                  speft_save_adapter(scene.adapter, &options, path, &error));
    destroy_scene(&scene);
}

/* ---- creating ---- */

struct creation {
    speft_context *context;
    speft_selection_options selection;
    speft_optimizer_options optimizer;
    speft_parameter parameters[SCENE_PARAMETERS];
    int64_t count;
};

static struct creation good_creation(speft_context *context) {
    struct creation creation;
    creation.context = context;
    creation.selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_optimizer_options_init(&creation.optimizer, sizeof creation.optimizer);
    declare_scene(creation.parameters);
    creation.count = SCENE_PARAMETERS;
    return creation;
}

static speft_status try_creation(const struct creation *creation) {
    speft_adapter *const untouched = (speft_adapter *)creation->context;
    speft_adapter *adapter = untouched;
    const speft_status status = try_to_create(creation->context, &creation->selection, &creation->optimizer,
                                              creation->parameters, creation->count, &adapter);
    if (status == SPEFT_OK) speft_destroy_adapter(adapter);
    CHECK(status == SPEFT_OK || adapter == untouched);
    return status;
}

/* One field of a good creation is set to a bad value. */
#define CHECK_BAD_CREATION(status, text, field, value)               \
    do {                                                             \
        struct creation creation_ = good_creation(context);          \
        creation_.field = (value);                                   \
        CHECK_FAILS(status, text, try_creation(&creation_));         \
    } while (0)

static void test_bad_selection_options(void) {
    speft_context *context = create_context();
    const struct creation good = good_creation(context);
    CHECK_OK(try_creation(&good));
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "density", selection.density, 0);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "density must be in (0, 1]; got 1.5", selection.density, 1.5);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "density", selection.density, -0.5);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "nan", selection.density, NAN);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "inf", selection.density, INFINITY);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "one of density, budget and rank", selection.budget, 5);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "budget", selection.budget, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "method", selection.method, 0);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "method", selection.method, SPEFT_SELECT_SCORE_FUNCTION + 1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "method", selection.method, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "scope", selection.scope, 3);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "random", selection.random, 2);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "given masks", selection.method, SPEFT_SELECT_GIVEN_MASK);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "selection options", selection.struct_size, 4);
    speft_destroy_context(context);
}

static void test_budgets_that_do_not_fit(void) {
    speft_context *context = create_context();
    struct creation creation = good_creation(context);
    creation.selection.density = 0;
    creation.selection.budget = 24 + 15;
    CHECK_OK(try_creation(&creation));
    creation.selection.budget += 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "at most 39", try_creation(&creation));
    creation.selection.budget = INT64_MAX;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "at most 39", try_creation(&creation));
    creation.selection.scope = SPEFT_SCOPE_PER_TENSOR;
    creation.selection.budget = 15;
    CHECK_OK(try_creation(&creation));
    creation.selection.budget = 16;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "value.weight", try_creation(&creation));
    /* The density's share of every tensor fits by itself. */
    creation.selection.budget = 0;
    creation.selection.density = 1;
    CHECK_OK(try_creation(&creation));
    creation.selection.method = SPEFT_SELECT_RANDOM;
    creation.selection.random = SPEFT_RANDOM_BERNOULLI;
    creation.selection.density = 0;
    creation.selection.budget = 5;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "Bernoulli", try_creation(&creation));
    speft_destroy_context(context);
}

static void test_bad_optimizer_options(void) {
    speft_context *context = create_context();
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "kind", optimizer.kind, 0);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "kind", optimizer.kind, SPEFT_OPTIMIZER_ADAM + 1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "age", optimizer.age, 2);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "age", optimizer.age, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "state", optimizer.state, 3);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "optimizer options", optimizer.struct_size, 0);
    speft_destroy_context(context);
}

static void test_bad_parameters(void) {
    speft_context *context = create_context();
    static const int64_t negative[] = {4, -1}, huge[] = {1 << 16, 1 << 16}, overflowing[] = {INT64_MAX, 4};
    const speft_dtype float64 = {SPEFT_CODE_FLOAT, 64, 1}, vector = {SPEFT_CODE_FLOAT, 32, 4};
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'query.weight'", parameters[VALUE].name, "query.weight");
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "parameters[1].name", parameters[VALUE].name, "");
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "parameters[1].name", parameters[VALUE].name, NULL);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "UTF-8", parameters[VALUE].name, "value\xff");
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "UTF-8", parameters[VALUE].name, "cut short \xe2\x82");
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "UTF-8", parameters[VALUE].name, "surrogate \xed\xa0\x80");
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].role, 2);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].part, 3);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].part, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].group, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].dtype, int64);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].dtype, float64);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].dtype, vector);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].ndim, -1);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].ndim, 1000);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "shape", parameters[VALUE].shape, NULL);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "[4, -1]", parameters[VALUE].shape, negative);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "'value.weight'", parameters[VALUE].shape, overflowing);
    CHECK_BAD_CREATION(SPEFT_UNSUPPORTED, "2^32", parameters[VALUE].shape, huge);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "struct_size", parameters[VALUE].struct_size, 8);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "count", count, 0);
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "count", count, -1);
    speft_destroy_context(context);
}

static void test_adapters_of_nothing(void) {
    speft_context *context = create_context();
    speft_adapter *adapter = NULL;
    speft_parameter parameter = DECLARE_MATRIX("empty", 0, 3);
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "scalar", try_to_create(context, &selection, NULL, &parameter, 1, &adapter));

    const speft_parameter *const none[] = {NULL};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameters", speft_create_adapter(context, NULL, NULL, 1, &adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameters[0]",
                speft_create_adapter(context, NULL, none, 1, &adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_create_adapter(NULL, NULL, none, 1, &adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_create_adapter(context, NULL, none, 1, NULL, &error));
    /* The defaults leave the density to the caller. */
    parameter = DECLARE_VECTOR("w", 4);
    const speft_parameter *const one[] = {&parameter};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "density", speft_create_adapter(context, NULL, one, 1, &adapter, &error));
    CHECK(adapter == NULL);
    speft_destroy_context(context);
}

/* A message is one line, whatever is in a name. */
static void test_names_with_line_breaks(void) {
    speft_context *context = create_context();
    CHECK_BAD_CREATION(SPEFT_INVALID_ARGUMENT, "role", parameters[VALUE], ((speft_parameter){
        sizeof(speft_parameter), 7, "two\nlines", scene_shapes[VALUE], 2, float32, 0, 0, NULL, NULL}));
    speft_destroy_context(context);
}

/* ---- parameters by their position ---- */

static void test_unknown_parameters(void) {
    struct scene fresh, trained;
    start_scene(&fresh);
    start_trained_scene(&trained);
    const speft_weights weights = dense_weights(&fresh.weight_views[QUERY]);
    const speft_gradient gradient = dense_gradient(&fresh.gradient_views[QUERY]);
    int64_t indices[SCENE_SCALARS] = {0}, count = 0;
    speft_tensor lent;
    speft_parameter info;
    speft_parameter_init(&info, sizeof info);
    static const int64_t positions[] = {-1, SCENE_PARAMETERS, INT64_MAX, INT64_MIN, INT64_C(1) << 32};
    for (int i = 0; i < COUNT_OF(positions); ++i) {
        const int64_t p = positions[i];
        CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_observe(fresh.adapter, p, &gradient, &error));
        CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_set_mask(fresh.adapter, p, VECTOR(indices, int64, 1), &error));
        CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_set_scores(fresh.adapter, p, &fresh.gradient_views[QUERY], &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_bind_weights(trained.adapter, p, &weights, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_bind_weights(trained.adapter, p, NULL, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_get_parameter(trained.adapter, p, &info, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_accumulate(trained.adapter, p, &gradient, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_get_gradient(trained.adapter, p, &lent, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_get_deltas(trained.adapter, p, &lent, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_get_selected_count(trained.adapter, p, &count, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                      speft_get_mask(trained.adapter, p, VECTOR(indices, int64, 1), &error));
        if (p != -1)
            CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, "parameter",
                          speft_clear_gradient(trained.adapter, p, &error));
    }
    destroy_scene(&fresh);
    destroy_scene(&trained);
}

/* ---- tensors ---- */

enum { FLAWS = 9 };

/* A good [4, 6] float32 tensor with one flaw, and what the message says of it. */
static speft_tensor flawed(const speft_tensor *good, int flaw, const char **text) {
    static int64_t transposed[] = {6, 4}, flat[] = {24}, short_of_one[] = {4, 5}, negative[] = {-4, -6};
    static int64_t column_major[] = {1, 4}, reversed[] = {-6, 1};
    static const char *const texts[FLAWS] = {"[4, 6]", "[4, 6]", "[4, 6]", "-4", "contiguous", "contiguous",
                                             "float32", "must be on", "ndim"};
    speft_tensor tensor = *good;
    switch (flaw) {
    case 0: tensor.shape = transposed; break;
    case 1: tensor.shape = flat, tensor.ndim = 1; break;
    case 2: tensor.shape = short_of_one; break;
    case 3: tensor.shape = negative; break;
    case 4: tensor.strides = column_major; break;
    case 5: tensor.strides = reversed; break;
    case 6: tensor.dtype = int64; break;
    case 7: tensor.device = other_device(); break;
    default: tensor.ndim = -1; break;
    }
    *text = texts[flaw];
    return tensor;
}

static void test_flawed_tensors(void) {
    struct scene fresh, trained;
    start_scene(&fresh);
    start_trained_scene(&trained);
    const speft_selection_options given = choose(SPEFT_SELECT_GIVEN_SCORES, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    struct scene scored = create_scene(create_context(), &given);
    bind_scene(&scored);
    for (int flaw = 0; flaw < FLAWS; ++flaw) {
        const char *text;
        const speft_tensor tensor = flawed(&fresh.gradient_views[QUERY], flaw, &text);
        const speft_gradient gradient = dense_gradient(&tensor);
        const speft_weights weights = dense_weights(&tensor);
        CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, text, speft_observe(fresh.adapter, QUERY, &gradient, &error));
        CHECK_REFUSED(&fresh, SPEFT_INVALID_ARGUMENT, text,
                      speft_bind_weights(fresh.adapter, QUERY, &weights, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, text,
                      speft_bind_weights(trained.adapter, QUERY, &weights, &error));
        CHECK_REFUSED(&trained, SPEFT_INVALID_ARGUMENT, text,
                      speft_accumulate(trained.adapter, QUERY, &gradient, &error));
        CHECK_REFUSED(&scored, SPEFT_INVALID_ARGUMENT, text,
                      speft_set_scores(scored.adapter, QUERY, &tensor, &error));
    }
    /* All of them went on with what they had. */
    observe_scene(&fresh);
    CHECK_OK(speft_select(fresh.adapter, NULL, &error));
    CHECK_OK(speft_step(trained.adapter, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "query.weight", speft_select(scored.adapter, NULL, &error));
    destroy_scene(&fresh);
    destroy_scene(&trained);
    destroy_scene(&scored);
}

/* Wherever the offset leads to: a view whose elements do not lie on multiples of their size. */
static void test_misaligned_tensors(void) {
    struct scene scene;
    start_trained_scene(&scene);
    for (uint64_t offset = 1; offset <= 3; ++offset) {
        speft_tensor tensor = scene.gradient_views[VALUE];
        tensor.byte_offset = offset;
        const speft_gradient gradient = dense_gradient(&tensor);
        const speft_weights weights = dense_weights(&tensor);
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "aligned",
                      speft_accumulate(scene.adapter, VALUE, &gradient, &error));
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "aligned",
                      speft_bind_weights(scene.adapter, VALUE, &weights, &error));
    }
    destroy_scene(&scene);
}

static void test_weights_of_another_type(void) {
    struct scene scene;
    start_scene(&scene);
    speft_tensor tensor = scene.weight_views[QUERY];
    const speft_weights weights = dense_weights(&tensor);
    tensor.dtype = bfloat16;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "bfloat16",
                  speft_bind_weights(scene.adapter, QUERY, &weights, &error));
    tensor.dtype = float16;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "float16",
                  speft_bind_weights(scene.adapter, QUERY, &weights, &error));
    speft_weights unknown = dense_weights(&scene.weight_views[QUERY]);
    unknown.kind = 4;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "kind",
                  speft_bind_weights(scene.adapter, QUERY, &unknown, &error));
    unknown.kind = -1;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "kind",
                  speft_bind_weights(scene.adapter, QUERY, &unknown, &error));
    unknown.kind = SPEFT_WEIGHTS_DENSE;
    unknown.struct_size = 8;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "struct_size",
                  speft_bind_weights(scene.adapter, QUERY, &unknown, &error));
    destroy_scene(&scene);
}

static speft_status accumulate_query(const struct scene *scene, const speft_gradient *gradient) {
    return speft_accumulate(scene->adapter, QUERY, gradient, &error);
}

static void test_bad_gradients(void) {
    struct scene scene;
    start_trained_scene(&scene);
    float numbers[64] = {0};
    const speft_tensor *x = MATRIX(numbers, float32, 2, 6), *dy = MATRIX(numbers, float32, 2, 4);
    const speft_tensor *longer = MATRIX(numbers, float32, 3, 4), *flat = VECTOR(numbers, float32, 12);

    speft_gradient gradient = make_gradient(0);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "kind", accumulate_query(&scene, &gradient));
    gradient = make_gradient(4);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "kind", accumulate_query(&scene, &gradient));
    gradient = dense_gradient(&scene.gradient_views[QUERY]);
    gradient.struct_size = 4;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "struct_size", accumulate_query(&scene, &gradient));
    gradient = dense_gradient(&scene.gradient_views[QUERY]);
    gradient.scale = NAN;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "scale", accumulate_query(&scene, &gradient));
    gradient.scale = INFINITY;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "scale", accumulate_query(&scene, &gradient));

    gradient = activations_gradient(x, dy, 2);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "layout", accumulate_query(&scene, &gradient));
    gradient = activations_gradient(x, dy, SPEFT_LAYOUT_IN_OUT);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "shape", accumulate_query(&scene, &gradient));
    gradient = activations_gradient(dy, x, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "shape", accumulate_query(&scene, &gradient));
    gradient = activations_gradient(x, longer, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "shape", accumulate_query(&scene, &gradient));
    gradient = activations_gradient(flat, dy, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "shape", accumulate_query(&scene, &gradient));
    gradient = activations_gradient(x, MATRIX(numbers, int64, 2, 4), SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "dy", accumulate_query(&scene, &gradient));

    const int64_t count = count_selected(scene.adapter, QUERY);
    gradient = values_gradient(VECTOR(numbers, float32, count + 1));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "values", accumulate_query(&scene, &gradient));
    gradient = values_gradient(VECTOR(numbers, float32, 24));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "values", accumulate_query(&scene, &gradient));

    /* A dense parameter has no mask, and a vector is no linear layer's weight. */
    gradient = values_gradient(VECTOR(numbers, float32, 5));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "'bias'", speft_accumulate(scene.adapter, BIAS, &gradient, &error));
    gradient = activations_gradient(x, dy, SPEFT_LAYOUT_OUT_IN);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "'bias'", speft_accumulate(scene.adapter, BIAS, &gradient, &error));
    destroy_scene(&scene);
}

int main(void) {
    RUN(test_null_adapters);
    RUN(test_null_arguments);
    RUN(test_null_members);
    RUN(test_bad_selection_options);
    RUN(test_budgets_that_do_not_fit);
    RUN(test_bad_optimizer_options);
    RUN(test_bad_parameters);
    RUN(test_adapters_of_nothing);
    RUN(test_names_with_line_breaks);
    RUN(test_unknown_parameters);
    RUN(test_flawed_tensors);
    RUN(test_misaligned_tensors);
    RUN(test_weights_of_another_type);
    RUN(test_bad_gradients);
    return check_result();
}
