/* Masks that are selected by each step's own gradient (MeProp, and SparseGrad where there is no basis to think of):
 * against brute force over all scalars, bit for bit. */
#include "scene.h"

enum { STEPS = 7, BUDGET = 4 };

/* What the headers say, over all scalars of one parameter. */
struct brute {
    int64_t size;
    struct scalar scalars[SCENE_SCALARS];
    int touched[SCENE_SCALARS];
    int chosen[SCENE_SCALARS];
};

static void start_brute(struct brute *brute, const float *weights, int64_t size) {
    memset(brute, 0, sizeof *brute);
    brute->size = size;
    for (int64_t i = 0; i < size; ++i) brute->scalars[i].original = weights[i];
}

/* The k largest |g|, of equals the first. */
static void choose_largest(struct brute *brute, const float *gradient, int64_t k) {
    memset(brute->chosen, 0, sizeof brute->chosen);
    for (int64_t picked = 0; picked < k; ++picked) {
        int64_t best = -1;
        for (int64_t i = 0; i < brute->size; ++i)
            if (!brute->chosen[i] && (best < 0 || fabsf(gradient[i]) > fabsf(gradient[best]))) best = i;
        brute->chosen[best] = brute->touched[best] = 1;
    }
}

static void step_brute(struct brute *brute, const float *gradient, float *weights) {
    for (int64_t i = 0; i < brute->size; ++i)
        if (brute->chosen[i] && gradient[i] != 0)
            weights[i] = update_scalar(&brute->scalars[i], gradient[i], adamw_defaults);
}

static speft_adapter *start(struct scene *scene, speft_context *context, int32_t scope, int64_t budget,
                            int64_t settled_limit) {
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.settled_limit = settled_limit;
    schedule.track_moves = 1;
    speft_selection_options selection = choose(SPEFT_SELECT_MEPROP, scope, 0, budget);
    selection.schedule = &schedule;
    *scene = create_scene(context, &selection);
    bind_scene(scene);
    CHECK_OK(speft_select(scene->adapter, NULL, &error));
    return scene->adapter;
}

static void check_brute(struct scene *scene, int parameter, const struct brute *brute, const float *expected) {
    int64_t mask[SCENE_SCALARS], ages[SCENE_SCALARS], at = 0;
    const int64_t count = read_mask(scene->adapter, parameter, mask, SCENE_SCALARS);
    CHECK_OK(speft_get_ages(scene->adapter, parameter, VECTOR(ages, int64, count), &error));
    const float *deltas = lend_deltas(scene->adapter, parameter);
    for (int64_t i = 0; i < brute->size; ++i) {
        if (!brute->touched[i]) continue;
        CHECK(at < count && mask[at] == i);
        CHECK_BYTES(&deltas[at], &brute->scalars[i].delta, sizeof(float));
        CHECK_EQUAL(ages[at], brute->scalars[i].age);
        ++at;
    }
    CHECK_EQUAL(count, at);
    CHECK_BYTES(scene->weights[parameter], expected, (size_t)brute->size * sizeof(float));
}

static void refill(struct scene *scene, int step) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i)
        fill(scene->gradients[i], scene_sizes[i], (uint32_t)(100 * step + i));
}

static void test_each_parameter_follows_its_own_gradient(void) {
    struct scene scene;
    start(&scene, create_context(), SPEFT_SCOPE_PER_TENSOR, BUDGET, 0);
    struct brute brutes[2];
    float expected[2][SCENE_SCALARS];
    for (int i = 0; i < 2; ++i) {
        start_brute(&brutes[i], scene.weights[i], scene_sizes[i]);
        memcpy(expected[i], scene.weights[i], sizeof expected[i]);
    }
    CHECK_EQUAL(read_state(scene.adapter).selected_scalars, 0);
    for (int step = 1; step <= STEPS; ++step) {
        refill(&scene, step);
        accumulate_scene(&scene);
        CHECK_EQUAL(read_state(scene.adapter).reselection_due, 1);
        speft_reselection moved = {.struct_size = sizeof moved};
        CHECK_OK(speft_reselect(scene.adapter, NULL, &moved, &error));
        CHECK_EQUAL(moved.due, 1);
        CHECK_EQUAL(moved.dropped, 0);
        CHECK_EQUAL(read_state(scene.adapter).reselection_due, 0);
        int64_t grown = 0;
        for (int i = 0; i < 2; ++i) {
            int64_t before = 0, after = 0, mask[SCENE_SCALARS];
            for (int64_t j = 0; j < brutes[i].size; ++j) before += brutes[i].touched[j];
            choose_largest(&brutes[i], scene.gradients[i], BUDGET);
            for (int64_t j = 0; j < brutes[i].size; ++j) after += brutes[i].touched[j];
            grown += after - before;
            /* The gradient of the step, and 0 in the rest of the mask. */
            const int64_t count = read_mask(scene.adapter, i, mask, SCENE_SCALARS);
            const float *gradient = lend_gradient(scene.adapter, i);
            for (int64_t j = 0; j < count; ++j)
                CHECK(gradient[j] == (brutes[i].chosen[mask[j]] ? scene.gradients[i][mask[j]] : 0));
            step_brute(&brutes[i], scene.gradients[i], expected[i]);
        }
        CHECK_EQUAL(moved.grown, grown);
        CHECK_OK(speft_step(scene.adapter, NULL, &error));
        for (int i = 0; i < 2; ++i) check_brute(&scene, i, &brutes[i], expected[i]);
    }
    CHECK_OK(speft_unmerge(scene.adapter, &error));
    for (int i = 0; i < 2; ++i)
        for (int64_t j = 0; j < brutes[i].size; ++j)
            CHECK_BYTES(&scene.weights[i][j], &brutes[i].scalars[j].original, sizeof(float));
    destroy_scene(&scene);
}

/* Several contributions, dense and from activations, add up before the scalars are selected. */
static void test_contributions_add_up(void) {
    struct scene scene;
    start(&scene, create_context(), SPEFT_SCOPE_PER_TENSOR, BUDGET, 0);
    enum { TOKENS = 3 };
    float x[TOKENS * 6], dy[TOKENS * 4], sum[SCENE_SCALARS], expected[SCENE_SCALARS];
    fill(x, TOKENS * 6, 71);
    fill(dy, TOKENS * 4, 72);
    memcpy(expected, scene.weights[QUERY], sizeof expected);
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 6; ++c) {
            sum[r * 6 + c] = scene.gradients[QUERY][r * 6 + c];
            for (int t = 0; t < TOKENS; ++t) sum[r * 6 + c] += 2 * dy[t * 4 + r] * x[t * 6 + c];  /* exact: numbers.h */
        }
    struct brute brute;
    start_brute(&brute, scene.weights[QUERY], 24);
    const speft_tensor *inputs = MATRIX(x, float32, TOKENS, 6), *outputs = MATRIX(dy, float32, TOKENS, 4);
    const speft_gradient gradient = activations_gradient(inputs, outputs, SPEFT_LAYOUT_OUT_IN);
    CHECK_OK(speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    accumulate_scene(&scene);
    CHECK_OK(speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    choose_largest(&brute, sum, BUDGET);
    step_brute(&brute, sum, expected);
    check_brute(&scene, QUERY, &brute, expected);

    /* From activations alone no dense gradient is formed, and the answer is the same. */
    memset(sum, 0, sizeof sum);
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 6; ++c)
            for (int t = 0; t < TOKENS; ++t) sum[r * 6 + c] += 2 * dy[t * 4 + r] * x[t * 6 + c];
    CHECK_OK(speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    CHECK_OK(speft_accumulate(scene.adapter, QUERY, &gradient, &error));
    CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    choose_largest(&brute, sum, BUDGET);
    step_brute(&brute, sum, expected);
    check_brute(&scene, QUERY, &brute, expected);
    destroy_scene(&scene);
}

/* One budget for both: the largest of all of them. */
static void test_one_ranking_over_all(void) {
    struct scene scene;
    start(&scene, create_context(), SPEFT_SCOPE_GLOBAL, BUDGET, 0);
    float all[39], taken[39];
    accumulate_scene(&scene);
    CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
    for (int j = 0; j < 24; ++j) all[j] = fabsf(scene.gradients[QUERY][j]);
    for (int j = 0; j < 15; ++j) all[24 + j] = fabsf(scene.gradients[VALUE][j]);
    memset(taken, 0, sizeof taken);
    int64_t counts[2] = {0, 0};
    for (int picked = 0; picked < BUDGET; ++picked) {
        int best = -1;
        for (int j = 0; j < 39; ++j)
            if (!taken[j] && (best < 0 || all[j] > all[best])) best = j;
        taken[best] = 1;
        ++counts[best >= 24];
    }
    for (int i = 0; i < 2; ++i) {
        int64_t mask[SCENE_SCALARS];
        CHECK_EQUAL(read_mask(scene.adapter, i, mask, SCENE_SCALARS), counts[i]);
        for (int64_t j = 0; j < counts[i]; ++j) CHECK(taken[24 * i + mask[j]]);
    }
    destroy_scene(&scene);
}

/* All scalars at each step: AdamW itself. */
static void test_all_scalars_is_ordinary_adamw(void) {
    struct scene scene, ordinary;
    start(&scene, create_context(), SPEFT_SCOPE_PER_TENSOR, 15, 0);  /* all of `value`, 15 of `query` */
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    ordinary = create_scene(create_context(), &selection);
    bind_scene(&ordinary);
    int64_t everything[SCENE_SCALARS];
    for (int64_t j = 0; j < SCENE_SCALARS; ++j) everything[j] = j;
    give_mask(ordinary.adapter, QUERY, everything, 24);
    give_mask(ordinary.adapter, VALUE, everything, 15);
    CHECK_OK(speft_select(ordinary.adapter, NULL, &error));
    for (int step = 1; step <= STEPS; ++step) {
        refill(&scene, step);
        for (int i = 0; i < SCENE_PARAMETERS; ++i)
            for (int64_t j = 0; j < scene_sizes[i]; ++j)
                if (scene.gradients[i][j] == 0) scene.gradients[i][j] = 0.5f;  /* what has none does not move */
        memcpy(ordinary.gradients, scene.gradients, sizeof scene.gradients);
        accumulate_scene(&scene);
        accumulate_scene(&ordinary);
        CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
        CHECK_OK(speft_step(scene.adapter, NULL, &error));
        CHECK_OK(speft_step(ordinary.adapter, NULL, &error));
    }
    CHECK_BYTES(scene.weights[VALUE], ordinary.weights[VALUE], 15 * sizeof(float));
    CHECK_BYTES(scene.weights[BIAS], ordinary.weights[BIAS], 5 * sizeof(float));
    destroy_scene(&scene);
    destroy_scene(&ordinary);
}

/* Of the scalars beside the step's, as many stay as the limit says: those that have moved farthest. */
static void test_the_limit_lets_the_least_moved_leave(void) {
    enum { LIMIT = 3 };
    struct scene scene;
    start(&scene, create_context(), SPEFT_SCOPE_PER_TENSOR, BUDGET, LIMIT);
    struct brute brutes[2];
    float expected[2][SCENE_SCALARS];
    int64_t left = 0;
    for (int i = 0; i < 2; ++i) {
        start_brute(&brutes[i], scene.weights[i], scene_sizes[i]);
        memcpy(expected[i], scene.weights[i], sizeof expected[i]);
    }
    for (int step = 1; step <= STEPS; ++step) {
        refill(&scene, step);
        accumulate_scene(&scene);
        for (int i = 0; i < 2; ++i) choose_largest(&brutes[i], scene.gradients[i], BUDGET);
        int64_t others = 0, dropped = 0;
        for (int i = 0; i < 2; ++i)
            for (int64_t j = 0; j < brutes[i].size; ++j) others += brutes[i].touched[j] && !brutes[i].chosen[j];
        for (; others > LIMIT; --others, ++dropped) {
            int worst = -1;
            int64_t where = 0;
            for (int i = 0; i < 2; ++i)
                for (int64_t j = 0; j < brutes[i].size; ++j)
                    if (brutes[i].touched[j] && !brutes[i].chosen[j] &&
                        (worst < 0 || fabsf(brutes[i].scalars[j].delta) < fabsf(brutes[worst].scalars[where].delta)))
                        worst = i, where = j;
            struct scalar *scalar = &brutes[worst].scalars[where];
            expected[worst][where] = scalar->original;
            brutes[worst].touched[where] = 0;
            scalar->delta = scalar->moment1 = scalar->moment2 = 0;
            scalar->age = 0;
        }
        speft_reselection moved = {.struct_size = sizeof moved};
        CHECK_OK(speft_reselect(scene.adapter, NULL, &moved, &error));
        CHECK_EQUAL(moved.dropped, dropped);
        left += dropped;
        CHECK_OK(speft_step(scene.adapter, NULL, &error));
        for (int i = 0; i < 2; ++i) {
            step_brute(&brutes[i], scene.gradients[i], expected[i]);
            check_brute(&scene, i, &brutes[i], expected[i]);
        }
    }
    CHECK(left > 0);
    destroy_scene(&scene);
}

/* A checkpoint after some steps, and in the middle of one; the rest is the same to the bit. */
static void test_a_checkpoint_goes_on_where_it_was(void) {
    static const char *const path = "step_masks_checkpoint.safetensors";
    for (int selected = 0; selected < 2; ++selected) {
        struct scene scene, again;
        start(&scene, create_context(), SPEFT_SCOPE_GLOBAL, BUDGET, 5);
        for (int step = 1; step <= 3; ++step) {
            refill(&scene, step);
            accumulate_scene(&scene);
            CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
            if (step < 3 || !selected) CHECK_OK(speft_step(scene.adapter, NULL, &error));
        }
        CHECK_OK(speft_save_checkpoint(scene.adapter, NULL, path, &error));
        memset(&again, 0, sizeof again);
        again.context = create_context();
        memcpy(again.weights, scene.weights, sizeof scene.weights);
        CHECK_OK(speft_load_checkpoint(again.context, NULL, path, &again.adapter, &error));
        bind_scene(&again);
        CHECK_OK(speft_merge(again.adapter, &error));
        for (int step = 4; step <= STEPS; ++step) {
            struct scene *const both[] = {&scene, &again};
            for (int i = 0; i < 2; ++i) {
                if (selected && step == 4) {
                    CHECK_OK(speft_step(both[i]->adapter, NULL, &error));
                    continue;
                }
                refill(both[i], step);
                accumulate_scene(both[i]);
                CHECK_OK(speft_reselect(both[i]->adapter, NULL, NULL, &error));
                CHECK_OK(speft_step(both[i]->adapter, NULL, &error));
            }
            CHECK_BYTES(again.weights, scene.weights, sizeof scene.weights);
        }
        struct picture picture;
        take_picture(&scene, &picture);
        picture.state.observations = read_state(again.adapter).observations;
        check_picture(&again, &picture, "a checkpoint", __FILE__, __LINE__);
        destroy_scene(&scene);
        destroy_scene(&again);
    }
    remove(path);
}

static void test_a_mask_chosen_once(void) {
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.schedule = SPEFT_SCHEDULE_NONE;
    speft_selection_options selection = choose(SPEFT_SELECT_MEPROP, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    selection.schedule = &schedule;
    struct scene once, gradient;
    once = create_scene(create_context(), &selection);
    selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    gradient = create_scene(create_context(), &selection);
    struct scene *const both[] = {&once, &gradient};
    for (int i = 0; i < 2; ++i) {
        bind_scene(both[i]);
        CHECK_FAILS(SPEFT_INVALID_STATE, "observ", speft_select(both[i]->adapter, NULL, &error));
        observe_scene(both[i]);
        CHECK_OK(speft_select(both[i]->adapter, NULL, &error));
        accumulate_scene(both[i]);
        CHECK_OK(speft_step(both[i]->adapter, NULL, &error));
    }
    CHECK_BYTES(once.weights, gradient.weights, sizeof once.weights);
    destroy_scene(&once);
    destroy_scene(&gradient);
}

/* Of the k largest those of at least that size, none in the end: then nothing moves but the dense parameter. */
static void test_a_threshold_selects_fewer(void) {
    speft_selection_options selection = choose(SPEFT_SELECT_MEPROP, SPEFT_SCOPE_PER_TENSOR, 0, BUDGET);
    selection.threshold = 0.875;
    struct scene scene = create_scene(create_context(), &selection);
    bind_scene(&scene);
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    struct brute brute;
    float expected[SCENE_SCALARS];
    start_brute(&brute, scene.weights[QUERY], 24);
    memcpy(expected, scene.weights[QUERY], sizeof expected);
    int64_t fewer = 0;
    for (int step = 1; step <= STEPS; ++step) {
        refill(&scene, step);
        if (step == STEPS)
            for (int j = 0; j < 24; ++j) scene.gradients[QUERY][j] *= 0.5f;
        accumulate_scene(&scene);
        choose_largest(&brute, scene.gradients[QUERY], BUDGET);
        for (int j = 0; j < 24; ++j) {
            if (!brute.chosen[j] || fabsf(scene.gradients[QUERY][j]) >= 0.875f) continue;
            brute.chosen[j] = 0;
            ++fewer;
        }
        memset(brute.touched, 0, sizeof brute.touched);
        CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
        CHECK_OK(speft_step(scene.adapter, NULL, &error));
        step_brute(&brute, scene.gradients[QUERY], expected);
        for (int j = 0; j < 24; ++j) brute.touched[j] = brute.scalars[j].age > 0;
        check_brute(&scene, QUERY, &brute, expected);
    }
    CHECK(fewer >= BUDGET);
    destroy_scene(&scene);
}

static void test_calls_out_of_order(void) {
    struct scene scene;
    start(&scene, create_context(), SPEFT_SCOPE_GLOBAL, BUDGET, 0);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "gradient", speft_step(scene.adapter, NULL, &error));
    accumulate_scene(&scene);
    speft_tensor lent;
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_reselect", speft_step(scene.adapter, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_reselect", speft_get_gradient(scene.adapter, QUERY, &lent, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_reselect", speft_clip_gradient(scene.adapter, 1, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_reselect",
                speft_save_checkpoint(scene.adapter, NULL, "never.safetensors", &error));
    const speft_gradient values = values_gradient(VECTOR(scene.gradients[QUERY], float32, 0));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "DENSE", speft_accumulate(scene.adapter, QUERY, &values, &error));
    CHECK_OK(speft_unmerge(scene.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_merge", speft_reselect(scene.adapter, NULL, NULL, &error));
    CHECK_OK(speft_merge(scene.adapter, &error));
    CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
    const speft_gradient dense = dense_gradient(&scene.gradient_views[QUERY]);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "selected already",
                  speft_accumulate(scene.adapter, QUERY, &dense, &error));
    double norm = 0;
    CHECK_OK(speft_clip_gradient(scene.adapter, 0.5, &norm, &error));
    CHECK(norm > 0.5);
    CHECK_OK(speft_clear_gradient(scene.adapter, -1, &error));
    CHECK_OK(speft_accumulate(scene.adapter, QUERY, &dense, &error));
    CHECK_OK(speft_clear_gradient(scene.adapter, QUERY, &error));
    CHECK_EQUAL(read_state(scene.adapter).reselection_due, 0);

    /* Of one parameter alone: the other stays as it is. A NaN is not selected; too few numbers are refused. */
    scene.gradients[VALUE][3] = NAN;
    accumulate_dense(scene.adapter, VALUE, &scene.gradient_views[VALUE]);
    CHECK_OK(speft_reselect(scene.adapter, NULL, NULL, &error));
    int64_t mask[SCENE_SCALARS];
    const int64_t count = read_mask(scene.adapter, VALUE, mask, SCENE_SCALARS);
    for (int64_t j = 0; j < count; ++j) CHECK(mask[j] != 3);
    CHECK_OK(speft_clear_gradient(scene.adapter, -1, &error));
    for (int64_t j = 0; j < 12; ++j) scene.gradients[VALUE][j] = NAN;
    accumulate_dense(scene.adapter, VALUE, &scene.gradient_views[VALUE]);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "not NaN", speft_reselect(scene.adapter, NULL, NULL, &error));
    destroy_scene(&scene);
}

static void test_refused_options(void) {
    speft_context *context = create_context();
    speft_adapter *adapter = NULL;
    speft_parameter parameters[SCENE_PARAMETERS];
    declare_scene(parameters);
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    speft_selection_options selection = choose(SPEFT_SELECT_MEPROP, SPEFT_SCOPE_PER_ROW, 0.5, 0);
    selection.schedule = &schedule;
#define CHECK_OPTIONS(text) \
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, text, \
                try_to_create(context, &selection, &optimizer, parameters, SCENE_PARAMETERS, &adapter))
    CHECK_OPTIONS("per row");
    selection.threshold = -1;
    selection.scope = SPEFT_SCOPE_GLOBAL;
    CHECK_OPTIONS("threshold");
    selection.threshold = 0.5;
    selection.method = SPEFT_SELECT_MAGNITUDE;
    CHECK_OPTIONS("threshold");
    selection.threshold = 0;
    selection.method = SPEFT_SELECT_MEPROP;
    selection.scope = SPEFT_SCOPE_GLOBAL;
    optimizer.kind = SPEFT_OPTIMIZER_SGD;
    CHECK_OPTIONS("ADAMW");
    optimizer.kind = SPEFT_OPTIMIZER_ADAM;
    optimizer.state = SPEFT_STATE_BLOCKS8;
    CHECK_OPTIONS("8 bits");
    optimizer.state = SPEFT_STATE_BFLOAT16;
    schedule.reselect_every = 2;
    CHECK_OPTIONS("reselect_every");
    schedule.reselect_every = 1;
    schedule.window = 1;
    CHECK_OPTIONS("window");
    schedule.window = 0;
    schedule.schedule = SPEFT_SCHEDULE_LINEAR;
    CHECK_OPTIONS("SPEFT_SCHEDULE_NONE");
    schedule.schedule = SPEFT_SCHEDULE_NONE;
    CHECK_OPTIONS("reselect_every");
    schedule.reselect_every = 0;
    schedule.settled_limit = 4;
    CHECK_OPTIONS("settled_limit");
    schedule.schedule = SPEFT_SCHEDULE_DEFAULT;
    CHECK_OK(try_to_create(context, &selection, &optimizer, parameters, SCENE_PARAMETERS, &adapter));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_each_parameter_follows_its_own_gradient);
    RUN(test_contributions_add_up);
    RUN(test_one_ranking_over_all);
    RUN(test_all_scalars_is_ordinary_adamw);
    RUN(test_the_limit_lets_the_least_moved_leave);
    RUN(test_a_checkpoint_goes_on_where_it_was);
    RUN(test_a_mask_chosen_once);
    RUN(test_a_threshold_selects_fewer);
    RUN(test_calls_out_of_order);
    RUN(test_refused_options);
    return check_result();
}
