/* A small model in any phase of its adapter's life, and a picture of all that a failing call must leave alone. */
#ifndef SPEFT_TESTS_CAPI_SCENE_H
#define SPEFT_TESTS_CAPI_SCENE_H

#include "host.h"
#include "numbers.h"

enum { QUERY, VALUE, BIAS, SCENE_PARAMETERS, SCENE_SCALARS = 24, SCENE_BUDGET = 7 };

static const char *const scene_names[SCENE_PARAMETERS] = {"query.weight", "value.weight", "bias"};
static const int32_t scene_ndims[SCENE_PARAMETERS] = {2, 2, 1};
static const int64_t scene_shapes[SCENE_PARAMETERS][2] = {{4, 6}, {3, 5}, {5}};
static const int64_t scene_sizes[SCENE_PARAMETERS] = {24, 15, 5};

struct scene {
    speft_context *context;
    speft_adapter *adapter;
    float weights[SCENE_PARAMETERS][SCENE_SCALARS];
    float gradients[SCENE_PARAMETERS][SCENE_SCALARS];
    speft_tensor weight_views[SCENE_PARAMETERS];
    speft_tensor gradient_views[SCENE_PARAMETERS];
};

/* `query` and `value` are sparse, `bias` is dense. */
static inline void declare_scene(speft_parameter parameters[SCENE_PARAMETERS]) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i)
        parameters[i] = declare(scene_names[i], scene_ndims[i], scene_shapes[i]);
    parameters[BIAS].role = SPEFT_ROLE_DENSE;
}

static inline struct scene create_scene(speft_context *context, const speft_selection_options *selection) {
    struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.context = context;
    speft_parameter parameters[SCENE_PARAMETERS];
    declare_scene(parameters);
    scene.adapter = create_adapter(context, selection, parameters, SCENE_PARAMETERS);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        fill(scene.weights[i], scene_sizes[i], (uint32_t)i + 1);
        fill(scene.gradients[i], scene_sizes[i], (uint32_t)i + 11);
    }
    return scene;
}

/* The views point into the scene, so they are made where it stays. */
static inline void bind_scene(struct scene *scene) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        scene->weight_views[i] = view(scene->weights[i], float32, scene_ndims[i], scene_shapes[i]);
        scene->gradient_views[i] = view(scene->gradients[i], float32, scene_ndims[i], scene_shapes[i]);
        bind(scene->adapter, i, &scene->weight_views[i]);
    }
}

static inline void observe_scene(struct scene *scene) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i) observe_dense(scene->adapter, i, &scene->gradient_views[i]);
    CHECK_OK(speft_finish_observation(scene->adapter, 1, &error));
}

static inline void accumulate_scene(struct scene *scene) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i) accumulate_dense(scene->adapter, i, &scene->gradient_views[i]);
}

static inline void destroy_scene(struct scene *scene) {
    speft_destroy_adapter(scene->adapter);
    speft_destroy_context(scene->context);
}

/* ---- scenes by how far they have come; SNIP needs weights and gradients ---- */

static inline void start_scene(struct scene *scene) {
    const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    *scene = create_scene(create_context(), &selection);
    bind_scene(scene);
}

static inline void start_observed_scene(struct scene *scene) {
    start_scene(scene);
    observe_scene(scene);
}

static inline void start_selected_scene(struct scene *scene) {
    start_observed_scene(scene);
    CHECK_OK(speft_select(scene->adapter, NULL, &error));
}

/* Two steps done, and a third one's gradient has arrived. */
static inline void start_trained_scene(struct scene *scene) {
    start_selected_scene(scene);
    for (int step = 0; step < 2; ++step) {
        accumulate_scene(scene);
        CHECK_OK(speft_step(scene->adapter, NULL, &error));
    }
    accumulate_scene(scene);
}

/* ---- the picture ---- */

struct picture {
    speft_adapter_state state;
    float weights[SCENE_PARAMETERS][SCENE_SCALARS];
    int64_t counts[SCENE_PARAMETERS];
    int64_t masks[SCENE_PARAMETERS][SCENE_SCALARS];
    float deltas[SCENE_PARAMETERS][SCENE_SCALARS];
    float gradients[SCENE_PARAMETERS][SCENE_SCALARS];
};

static inline void take_picture(const struct scene *scene, struct picture *picture) {
    memset(picture, 0, sizeof *picture);
    picture->state = read_state(scene->adapter);
    memcpy(picture->weights, scene->weights, sizeof picture->weights);
    if (!picture->state.selected) return;
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        const int64_t count = read_mask(scene->adapter, i, picture->masks[i], SCENE_SCALARS);
        picture->counts[i] = count;
        memcpy(picture->deltas[i], lend_deltas(scene->adapter, i), (size_t)count * sizeof(float));
        if (picture->state.reselection_due) continue;  /* the step's gradient has no mask yet */
        memcpy(picture->gradients[i], lend_gradient(scene->adapter, i), (size_t)count * sizeof(float));
    }
}

static inline void check_picture(const struct scene *scene, const struct picture *before, const char *call,
                                 const char *file, int line) {
    struct picture after;
    take_picture(scene, &after);
    const char *changed = memcmp(&before->state, &after.state, sizeof after.state)            ? "its state"
                          : memcmp(before->weights, after.weights, sizeof after.weights)       ? "the weights"
                          : memcmp(before->counts, after.counts, sizeof after.counts)          ? "a mask's length"
                          : memcmp(before->masks, after.masks, sizeof after.masks)             ? "a mask"
                          : memcmp(before->deltas, after.deltas, sizeof after.deltas)          ? "a delta"
                          : memcmp(before->gradients, after.gradients, sizeof after.gradients) ? "a gradient"
                                                                                               : NULL;
    if (!changed) return;
    fprintf(stderr, "%s:%d: %s failed, and changed %s\n", file, line, call, changed);
    atomic_fetch_add(&check_failures, 1);
}

/* The call fails as CHECK_FAILS says, and nothing has changed. */
#define CHECK_REFUSED(scene, status, text, call)                      \
    do {                                                              \
        struct picture before_;                                       \
        take_picture(scene, &before_);                                \
        CHECK_FAILS(status, text, call);                              \
        check_picture(scene, &before_, #call, __FILE__, __LINE__);    \
    } while (0)

#endif
