/* Calls at the wrong time, and weights that others write: told by name, and nothing has changed. */
#include <stddef.h>

#include "scene.h"

static const char *const path = "bad_order.safetensors";

/* ---- observing and selecting ---- */

static void test_bad_observations(void) {
    struct scene scene;
    start_scene(&scene);
    speft_adapter *const adapter = scene.adapter;
    float numbers[SCENE_SCALARS] = {0};
    const speft_gradient values = values_gradient(VECTOR(numbers, float32, 3));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "query.weight", speft_observe(adapter, QUERY, &values, &error));
    static const double bad_weights[] = {-1, NAN, INFINITY};
    for (int i = 0; i < COUNT_OF(bad_weights); ++i) {
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "weight",
                      speft_begin_observation(adapter, bad_weights[i], &error));
        observe_dense(adapter, QUERY, &scene.gradient_views[QUERY]);
        observe_dense(adapter, VALUE, &scene.gradient_views[VALUE]);
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "weight",
                      speft_finish_observation(adapter, bad_weights[i], &error));
        CHECK_OK(speft_finish_observation(adapter, 1, &error));
    }
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "weight", speft_begin_observation(adapter, 0, &error));

    observe_dense(adapter, QUERY, &scene.gradient_views[QUERY]);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "open", speft_begin_observation(adapter, 1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "value.weight", speft_finish_observation(adapter, 1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "open", speft_select(adapter, NULL, &error));
    observe_dense(adapter, VALUE, &scene.gradient_views[VALUE]);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "weight", speft_finish_observation(adapter, 0, &error));
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "open", speft_finish_observation(adapter, 1, &error));

    CHECK_OK(speft_begin_observation(adapter, 4, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "open", speft_begin_observation(adapter, 4, &error));
    observe_dense(adapter, QUERY, &scene.gradient_views[QUERY]);
    observe_dense(adapter, VALUE, &scene.gradient_views[VALUE]);
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "announced", speft_finish_observation(adapter, 5, &error));
    CHECK_OK(speft_finish_observation(adapter, 4, &error));
    CHECK_EQUAL(read_state(adapter).observations, 5);
    CHECK_OK(speft_select(adapter, NULL, &error));
    destroy_scene(&scene);
}

static void test_observations_can_be_forgotten(void) {
    struct scene scene, reference;
    start_scene(&scene);
    start_selected_scene(&reference);
    observe_dense(scene.adapter, QUERY, &scene.gradient_views[QUERY]);
    CHECK_OK(speft_clear_observations(scene.adapter, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "observation", speft_select(scene.adapter, NULL, &error));
    CHECK_OK(speft_begin_observation(scene.adapter, 7, &error));
    observe_dense(scene.adapter, QUERY, &scene.weight_views[QUERY]);
    observe_dense(scene.adapter, VALUE, &scene.weight_views[VALUE]);
    CHECK_OK(speft_finish_observation(scene.adapter, 0, &error));
    CHECK_OK(speft_clear_observations(scene.adapter, &error));
    CHECK_EQUAL(read_state(scene.adapter).observations, 0);
    observe_scene(&scene);
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    struct picture expected;
    take_picture(&reference, &expected);
    check_picture(&scene, &expected, "observing after forgetting", __FILE__, __LINE__);
    destroy_scene(&scene);
    destroy_scene(&reference);
}

static void test_selecting_too_early(void) {
    struct scene scene;
    start_scene(&scene);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "observation", speft_select(scene.adapter, NULL, &error));
    observe_scene(&scene);
    CHECK_OK(speft_bind_weights(scene.adapter, VALUE, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "value.weight", speft_select(scene.adapter, NULL, &error));
    bind_scene(&scene);
    CHECK_OK(speft_bind_weights(scene.adapter, BIAS, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "bias", speft_select(scene.adapter, NULL, &error));
    bind_scene(&scene);
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    destroy_scene(&scene);
}

static void test_choosing_twice(void) {
    struct scene scene;
    start_trained_scene(&scene);
    speft_adapter *const adapter = scene.adapter;
    const speft_gradient gradient = dense_gradient(&scene.gradient_views[QUERY]);
    int64_t indices[1] = {0};
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen", speft_select(adapter, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen", speft_observe(adapter, QUERY, &gradient, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen", speft_begin_observation(adapter, 1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen", speft_finish_observation(adapter, 1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen", speft_clear_observations(adapter, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen",
                  speft_set_mask(adapter, QUERY, VECTOR(indices, int64, 1), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "chosen",
                  speft_set_scores(adapter, QUERY, &scene.gradient_views[QUERY], &error));
    destroy_scene(&scene);
}

static void test_training_before_the_selection(void) {
    struct scene scene;
    start_observed_scene(&scene);
    speft_adapter *const adapter = scene.adapter;
    const speft_gradient gradient = dense_gradient(&scene.gradient_views[QUERY]);
    int64_t indices[SCENE_SCALARS], count = 0;
    double norm = 0;
    speft_tensor lent;
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_step(adapter, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_accumulate(adapter, QUERY, &gradient, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_get_gradient(adapter, QUERY, &lent, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_clear_gradient(adapter, -1, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_clip_gradient(adapter, 1, &norm, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_merge(adapter, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_unmerge(adapter, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_save_adapter(adapter, NULL, path, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_get_deltas(adapter, QUERY, &lent, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select", speft_get_selected_count(adapter, QUERY, &count, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select",
                  speft_get_mask(adapter, QUERY, VECTOR(indices, int64, 24), &error));
    CHECK(!file_exists(path));
    destroy_scene(&scene);
}

static void test_bad_masks(void) {
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    struct scene scene = create_scene(create_context(), &selection);
    bind_scene(&scene);
    speft_adapter *const adapter = scene.adapter;
    static const int64_t falling[] = {3, 2}, twice[] = {3, 3}, negative[] = {-1, 2}, outside[] = {3, 24};
    static const int64_t *const bad[] = {falling, twice, negative, outside};
    for (int i = 0; i < COUNT_OF(bad); ++i)
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "query.weight",
                      speft_set_mask(adapter, QUERY, VECTOR(bad[i], int64, 2), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "int64",
                  speft_set_mask(adapter, QUERY, VECTOR(falling, float32, 2), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "axis",
                  speft_set_mask(adapter, QUERY, MATRIX(falling, int64, 1, 2), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "dense",
                  speft_set_mask(adapter, BIAS, VECTOR(outside, int64, 1), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "score",
                  speft_set_scores(adapter, QUERY, &scene.gradient_views[QUERY], &error));
    give_mask(adapter, QUERY, outside, 1);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "value.weight", speft_select(adapter, NULL, &error));
    give_mask(adapter, VALUE, outside, 1);
    CHECK_OK(speft_select(adapter, NULL, &error));

    int64_t indices[2];
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "[1]",
                  speft_get_mask(adapter, QUERY, VECTOR(indices, int64, 2), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "int64",
                  speft_get_mask(adapter, QUERY, VECTOR(indices, float32, 1), &error));
    destroy_scene(&scene);
}

static void test_masks_and_scores_where_none_are_asked_for(void) {
    struct scene scene;
    start_scene(&scene);
    int64_t indices[1] = {0};
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "mask",
                  speft_set_mask(scene.adapter, QUERY, VECTOR(indices, int64, 1), &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "score",
                  speft_set_scores(scene.adapter, QUERY, &scene.gradient_views[QUERY], &error));
    destroy_scene(&scene);
}

static void test_fewer_scores_than_the_budget(void) {
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_SCORES, SPEFT_SCOPE_GLOBAL, 0, 5);
    struct scene scene = create_scene(create_context(), &selection);
    bind_scene(&scene);
    for (int i = 0; i < SCENE_SCALARS; ++i) scene.gradients[QUERY][i] = scene.gradients[VALUE][i] = NAN;
    for (int i = 0; i < 4; ++i) scene.gradients[i % 2][3 * i] = -1;
    for (int p = QUERY; p <= VALUE; ++p)
        CHECK_OK(speft_set_scores(scene.adapter, p, &scene.gradient_views[p], &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "only 4 scores", speft_select(scene.adapter, NULL, &error));
    scene.gradients[VALUE][14] = 0;
    CHECK_OK(speft_set_scores(scene.adapter, VALUE, &scene.gradient_views[VALUE], &error));
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    CHECK_EQUAL(read_state(scene.adapter).selected_scalars, 5);
    destroy_scene(&scene);
}

/* ---- steps ---- */

static void test_bad_steps(void) {
    struct scene scene;
    start_trained_scene(&scene);
    speft_hyperparameters hyperparameters;
    const speft_hyperparameters *const groups[] = {&hyperparameters};
    const struct {
        const char *text;
        size_t offset;
        double value;
    } flaws[] = {
        {"learning_rate", offsetof(speft_hyperparameters, learning_rate), -1e-3},
        {"learning_rate", offsetof(speft_hyperparameters, learning_rate), NAN},
        {"learning_rate", offsetof(speft_hyperparameters, learning_rate), INFINITY},
        {"beta1", offsetof(speft_hyperparameters, beta1), 1},
        {"beta1", offsetof(speft_hyperparameters, beta1), -0.1},
        {"beta2", offsetof(speft_hyperparameters, beta2), 1},
        {"beta2", offsetof(speft_hyperparameters, beta2), NAN},
        {"epsilon", offsetof(speft_hyperparameters, epsilon), -1e-8},
        {"weight_decay", offsetof(speft_hyperparameters, weight_decay), -1},
        {"weight_decay", offsetof(speft_hyperparameters, weight_decay), NAN},
    };
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    for (int i = 0; i < COUNT_OF(flaws); ++i) {
        speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
        memcpy((char *)&hyperparameters + flaws[i].offset, &flaws[i].value, sizeof(double));
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, flaws[i].text, speft_step(scene.adapter, &options, &error));
    }
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.decay = 3;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "decay", speft_step(scene.adapter, &options, &error));
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.struct_size = 0;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "struct_size", speft_step(scene.adapter, &options, &error));

    const speft_hyperparameters *const nobody[] = {NULL};
    options.groups = nobody;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "groups", speft_step(scene.adapter, &options, &error));
    options.groups = NULL;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "groups", speft_step(scene.adapter, &options, &error));
    options.group_count = -1;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "group_count", speft_step(scene.adapter, &options, &error));
    speft_step_options_init(&options, sizeof options);
    options.gradient_scale = NAN;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "gradient_scale", speft_step(scene.adapter, &options, &error));
    options.gradient_scale = INFINITY;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "gradient_scale", speft_step(scene.adapter, &options, &error));

    static const double bad_norms[] = {0, -1, NAN};
    for (int i = 0; i < COUNT_OF(bad_norms); ++i)
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "max_norm",
                      speft_clip_gradient(scene.adapter, bad_norms[i], NULL, &error));
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    destroy_scene(&scene);
}

static void test_steps_at_the_wrong_time(void) {
    struct scene scene;
    start_trained_scene(&scene);
    CHECK_OK(speft_unmerge(scene.adapter, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "unmerged", speft_step(scene.adapter, NULL, &error));
    CHECK_OK(speft_merge(scene.adapter, &error));
    CHECK_OK(speft_bind_weights(scene.adapter, QUERY, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "query.weight", speft_step(scene.adapter, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "query.weight", speft_unmerge(scene.adapter, &error));
    bind_scene(&scene);
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "gradient", speft_step(scene.adapter, NULL, &error));
    destroy_scene(&scene);
}

/* ---- weights that others write ---- */

static void test_weights_changed_behind_the_adapter(void) {
    struct scene scene;
    start_trained_scene(&scene);
    int64_t mask[SCENE_SCALARS];
    if (read_mask(scene.adapter, QUERY, mask, SCENE_SCALARS) == 0) abort();
    float *const weight = &scene.weights[QUERY][mask[0]];
    const float written = *weight;

    *weight += 1;
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "behind the adapter", speft_unmerge(scene.adapter, &error));
    *weight = written;
    CHECK_OK(speft_unmerge(scene.adapter, &error));

    const float original = *weight;
    *weight += 1;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "query.weight", speft_merge(scene.adapter, &error));
    *weight = original;
    CHECK_OK(speft_merge(scene.adapter, &error));
    CHECK(*weight == written);
    destroy_scene(&scene);
}

/* What is not in the mask is the host's own. */
static void test_other_weights_may_change(void) {
    struct scene scene;
    start_trained_scene(&scene);
    int64_t mask[SCENE_SCALARS];
    const int64_t count = read_mask(scene.adapter, QUERY, mask, SCENE_SCALARS);
    int64_t free_index = 0;
    while (free_index < count && mask[free_index] == free_index) ++free_index;
    scene.weights[QUERY][free_index] = 77;
    CHECK_OK(speft_unmerge(scene.adapter, &error));
    CHECK(scene.weights[QUERY][free_index] == 77);
    destroy_scene(&scene);
}

static void test_a_second_adapter_on_the_same_weights(void) {
    struct scene first;
    start_trained_scene(&first);
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0, 3);
    const speft_parameter parameter = DECLARE_VECTOR("view", 6);
    speft_context *context = create_context();
    speft_adapter *second = create_adapter(context, &selection, &parameter, 1);
    bind(second, 0, VECTOR(&first.weights[QUERY][18], float32, 6));
    CHECK_REFUSED(&first, SPEFT_INVALID_STATE, "overlap", speft_select(second, NULL, &error));
    CHECK_EQUAL(read_state(second).selected, 0);

    CHECK_OK(speft_unmerge(first.adapter, &error));
    CHECK_OK(speft_select(second, NULL, &error));
    CHECK_REFUSED(&first, SPEFT_INVALID_STATE, "overlap", speft_merge(first.adapter, &error));
    CHECK_OK(speft_unmerge(second, &error));
    CHECK_OK(speft_merge(first.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "overlap", speft_merge(second, &error));

    /* Elsewhere it may be merged, and may then not come back. */
    float elsewhere[6];
    CHECK_OK(speft_unmerge(first.adapter, &error));
    memcpy(elsewhere, &first.weights[QUERY][18], sizeof elsewhere);
    CHECK_OK(speft_merge(first.adapter, &error));
    bind(second, 0, VECTOR(elsewhere, float32, 6));
    CHECK_OK(speft_merge(second, &error));
    const speft_weights back = dense_weights(VECTOR(&first.weights[QUERY][18], float32, 6));
    CHECK_REFUSED(&first, SPEFT_INVALID_STATE, "overlap", speft_bind_weights(second, 0, &back, &error));
    CHECK_EQUAL(read_state(second).merged, 1);

    /* Destroying the first gives its claim back. */
    destroy_scene(&first);
    CHECK_OK(speft_bind_weights(second, 0, &back, &error));
    speft_destroy_adapter(second);
    speft_destroy_context(context);
}

static void test_one_memory_bound_twice(void) {
    float weights[6] = {1, 2, 3, 4, 5, 6};
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0, 3);
    const speft_parameter parameters[] = {DECLARE_VECTOR("one", 4), DECLARE_VECTOR("other", 4)};
    speft_context *context = create_context();
    speft_adapter *adapter = create_adapter(context, &selection, parameters, 2);
    bind(adapter, 0, VECTOR(weights, float32, 4));
    bind(adapter, 1, VECTOR(weights + 2, float32, 4));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'other'", speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).selected, 0);
    CHECK_BYTES(weights, ((float[]){1, 2, 3, 4, 5, 6}), sizeof weights);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_bad_observations);
    RUN(test_observations_can_be_forgotten);
    RUN(test_selecting_too_early);
    RUN(test_choosing_twice);
    RUN(test_training_before_the_selection);
    RUN(test_bad_masks);
    RUN(test_masks_and_scores_where_none_are_asked_for);
    RUN(test_fewer_scores_than_the_budget);
    RUN(test_bad_steps);
    RUN(test_steps_at_the_wrong_time);
    RUN(test_weights_changed_behind_the_adapter);
    RUN(test_other_weights_may_change);
    RUN(test_a_second_adapter_on_the_same_weights);
    RUN(test_one_memory_bound_twice);
    return check_result();
}
