/* Gradients in all their forms, clipping, and what a step makes of them: groups, decay, ages, 16-bit weights. */
#include "scene.h"

enum { ROWS = 4, COLUMNS = 6, SCALARS = ROWS * COLUMNS, SELECTED = 5 };

static const int64_t mask[SELECTED] = {0, 5, 6, 13, 23};

/* An adapter on one matrix "w", a mask given, and an update away from nothing. */
struct single {
    speft_context *context;
    speft_adapter *adapter;
    float weights[SCALARS];
    float gradient[SCALARS];
};

static void start_single(struct single *single, int32_t age) {
    single->context = create_context();
    fill(single->weights, SCALARS, 1);
    fill(single->gradient, SCALARS, 2);
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.age = age;
    const speft_parameter parameter = DECLARE_MATRIX("w", ROWS, COLUMNS);
    CHECK_OK(try_to_create(single->context, &selection, &optimizer, &parameter, 1, &single->adapter));
    bind(single->adapter, 0, MATRIX(single->weights, float32, ROWS, COLUMNS));
    give_mask(single->adapter, 0, mask, SELECTED);
    CHECK_OK(speft_select(single->adapter, NULL, &error));
}

static void finish_single(struct single *single) {
    speft_destroy_adapter(single->adapter);
    speft_destroy_context(single->context);
}

static void accumulate_single(struct single *single) {
    accumulate_dense(single->adapter, 0, MATRIX(single->gradient, float32, ROWS, COLUMNS));
}

static void check_accumulated(speft_adapter *adapter, const float *dense, float factor) {
    const float *accumulated = lend_gradient(adapter, 0);
    for (int j = 0; j < SELECTED; ++j) CHECK(accumulated[j] == factor * dense[mask[j]]);
}

/* ---- forms ---- */

static void test_a_dense_gradient_is_taken_at_the_mask(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    check_accumulated(single.adapter, single.gradient, 0);
    accumulate_single(&single);
    check_accumulated(single.adapter, single.gradient, 1);
    finish_single(&single);
}

static void test_values_are_in_the_masks_order(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    float values[SELECTED];
    for (int j = 0; j < SELECTED; ++j) values[j] = single.gradient[mask[j]];
    const speft_gradient gradient = values_gradient(VECTOR(values, float32, SELECTED));
    CHECK_OK(speft_accumulate(single.adapter, 0, &gradient, &error));
    check_accumulated(single.adapter, single.gradient, 1);
    finish_single(&single);
}

/* Products of small numbers whose sums are exact in any order. */
static void test_activations_are_their_product(void) {
    enum { TOKENS = 7 };
    float x[TOKENS * COLUMNS], dy[TOKENS * ROWS], dense[SCALARS] = {0};
    fill(x, TOKENS * COLUMNS, 3);
    fill(dy, TOKENS * ROWS, 4);
    for (int t = 0; t < TOKENS; ++t)
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c) dense[r * COLUMNS + c] += dy[t * ROWS + r] * x[t * COLUMNS + c];
    const speft_tensor *wide = MATRIX(x, float32, TOKENS, COLUMNS), *tall = MATRIX(dy, float32, TOKENS, ROWS);

    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    const speft_gradient out_in = activations_gradient(wide, tall, SPEFT_LAYOUT_OUT_IN);
    CHECK_OK(speft_accumulate(single.adapter, 0, &out_in, &error));
    check_accumulated(single.adapter, dense, 1);

    /* As [in, out] the same weight has ROWS inputs and COLUMNS outputs. */
    CHECK_OK(speft_clear_gradient(single.adapter, 0, &error));
    const speft_gradient in_out = activations_gradient(tall, wide, SPEFT_LAYOUT_IN_OUT);
    CHECK_OK(speft_accumulate(single.adapter, 0, &in_out, &error));
    check_accumulated(single.adapter, dense, 1);

    CHECK_OK(speft_clear_gradient(single.adapter, 0, &error));
    const speft_gradient none =
        activations_gradient(MATRIX(x, float32, 0, COLUMNS), MATRIX(dy, float32, 0, ROWS), SPEFT_LAYOUT_OUT_IN);
    CHECK_OK(speft_accumulate(single.adapter, 0, &none, &error));
    check_accumulated(single.adapter, dense, 0);
    finish_single(&single);
}

static void test_activations_of_a_dense_parameter(void) {
    enum { TOKENS = 7 };
    float x[TOKENS * COLUMNS], dy[TOKENS * ROWS], weights[SCALARS], expected[SCALARS] = {0};
    fill(x, TOKENS * COLUMNS, 3);
    fill(dy, TOKENS * ROWS, 4);
    fill(weights, SCALARS, 5);
    for (int t = 0; t < TOKENS; ++t)
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c) expected[r * COLUMNS + c] += dy[t * ROWS + r] * x[t * COLUMNS + c];
    speft_context *context = create_context();
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_parameter head = DECLARE_MATRIX("head", ROWS, COLUMNS);
    head.role = SPEFT_ROLE_DENSE;
    speft_adapter *adapter = create_adapter(context, &selection, &head, 1);
    bind(adapter, 0, MATRIX(weights, float32, ROWS, COLUMNS));
    CHECK_OK(speft_select(adapter, NULL, &error));
    const speft_gradient gradient = activations_gradient(MATRIX(x, float32, TOKENS, COLUMNS),
                                                         MATRIX(dy, float32, TOKENS, ROWS), SPEFT_LAYOUT_OUT_IN);
    CHECK_OK(speft_accumulate(adapter, 0, &gradient, &error));
    CHECK_BYTES(lend_gradient(adapter, 0), expected, sizeof expected);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_gradients_of_16_bits(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    static const struct narrow types[] = {narrow_bfloat16, narrow_float16};
    const speft_dtype dtypes[] = {bfloat16, float16};
    for (int type = 0; type < 2; ++type) {
        uint16_t bits[SCALARS];
        float rounded[SCALARS];
        for (int i = 0; i < SCALARS; ++i) {
            bits[i] = encode_narrow(round_narrow(single.gradient[i], types[type]), types[type]);
            rounded[i] = (float)decode_narrow(bits[i], types[type]);
        }
        accumulate_dense(single.adapter, 0, MATRIX(bits, dtypes[type], ROWS, COLUMNS));
        check_accumulated(single.adapter, rounded, 1);
        CHECK_OK(speft_clear_gradient(single.adapter, 0, &error));
    }
    finish_single(&single);
}

static void test_contributions_add_up_each_with_its_scale(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    speft_gradient gradient = dense_gradient(MATRIX(single.gradient, float32, ROWS, COLUMNS));
    const double scales[] = {0, 1, 0.5, -4}; /* 0 stands for 1 */
    for (int i = 0; i < COUNT_OF(scales); ++i) {
        gradient.scale = scales[i];
        CHECK_OK(speft_accumulate(single.adapter, 0, &gradient, &error));
    }
    check_accumulated(single.adapter, single.gradient, 1 + 1 + 0.5f - 4);
    finish_single(&single);
}

static void test_an_offset_view(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    float memory[SCALARS + 3];
    memcpy(memory + 3, single.gradient, sizeof single.gradient);
    speft_tensor tensor = *MATRIX(memory, float32, ROWS, COLUMNS);
    tensor.byte_offset = 3 * sizeof *memory;
    int64_t strides[] = {COLUMNS, 1};
    tensor.strides = strides;
    accumulate_dense(single.adapter, 0, &tensor);
    check_accumulated(single.adapter, single.gradient, 1);
    finish_single(&single);
}

static void check_cleared(speft_adapter *adapter, int64_t parameter) {
    const float *gradient = lend_gradient(adapter, parameter);
    for (int64_t j = 0; j < count_selected(adapter, parameter); ++j) CHECK(gradient[j] == 0);
}

static void test_a_cleared_gradient_is_gone(void) {
    struct scene scene;
    start_selected_scene(&scene);
    accumulate_scene(&scene);
    CHECK_OK(speft_clear_gradient(scene.adapter, VALUE, &error));
    check_cleared(scene.adapter, VALUE);
    CHECK(lend_gradient(scene.adapter, BIAS)[0] == scene.gradients[BIAS][0]);
    CHECK_OK(speft_clear_gradient(scene.adapter, -1, &error));
    for (int i = 0; i < SCENE_PARAMETERS; ++i) check_cleared(scene.adapter, i);
    destroy_scene(&scene);
}

/* ---- the lent gradient ---- */

static void test_the_lent_gradient_is_what_the_step_uses(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    float expected[SCALARS];
    memcpy(expected, single.weights, sizeof expected);
    accumulate_single(&single);

    speft_tensor lent;
    CHECK_OK(speft_get_gradient(single.adapter, 0, &lent, &error));
    CHECK_EQUAL(lent.ndim, 1);
    CHECK_EQUAL(lent.shape[0], SELECTED);
    CHECK_BYTES(&lent.dtype, &float32, sizeof lent.dtype);
    CHECK_EQUAL(lent.device.type, test_device().type);
    float *values = lend_gradient(single.adapter, 0);
    for (int j = 0; j < SELECTED; ++j) {
        values[j] = (float)(j + 1) / 8;
        struct scalar scalar = {single.weights[mask[j]], 0, 0, 0, 0};
        expected[mask[j]] = update_scalar(&scalar, values[j], adamw_defaults);
    }
    CHECK_OK(speft_step(single.adapter, NULL, &error));
    CHECK_BYTES(single.weights, expected, sizeof expected);
    check_accumulated(single.adapter, single.gradient, 0);
    finish_single(&single);
}

static void test_writing_the_lent_gradient_is_no_contribution(void) {
    struct single single;
    start_single(&single, SPEFT_AGE_COMMON);
    lend_gradient(single.adapter, 0)[0] = 1;
    CHECK_FAILS(SPEFT_INVALID_STATE, "'w'", speft_step(single.adapter, NULL, &error));
    CHECK_EQUAL(read_state(single.adapter).steps, 0);
    finish_single(&single);
}

static void test_lent_shapes(void) {
    struct scene scene;
    start_selected_scene(&scene);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        speft_tensor deltas;
        CHECK_OK(speft_get_deltas(scene.adapter, i, &deltas, &error));
        CHECK_EQUAL(deltas.ndim, 1);
        CHECK_EQUAL(deltas.shape[0], count_selected(scene.adapter, i));
        CHECK_BYTES(&deltas.dtype, &float32, sizeof deltas.dtype);
        CHECK_EQUAL(deltas.device.type, test_device().type);
    }
    CHECK_EQUAL(count_selected(scene.adapter, BIAS), scene_sizes[BIAS]);
    int64_t indices[SCENE_SCALARS];
    const int64_t count = read_mask(scene.adapter, BIAS, indices, SCENE_SCALARS);
    for (int64_t j = 0; j < count; ++j) CHECK_EQUAL(indices[j], j);
    destroy_scene(&scene);
}

/* ---- clipping ---- */

/* One sparse scalar with gradient 3 and one dense with 4: the norm over both is 5. */
static speft_adapter *start_three_four(speft_context *context, float weights[2][2], float sparse, float dense) {
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    speft_parameter parameters[] = {DECLARE_VECTOR("sparse", 2), DECLARE_VECTOR("dense", 1)};
    parameters[1].role = SPEFT_ROLE_DENSE;
    speft_adapter *adapter = create_adapter(context, &selection, parameters, 2);
    bind(adapter, 0, VECTOR(weights[0], float32, 2));
    bind(adapter, 1, VECTOR(weights[1], float32, 1));
    give_mask(adapter, 0, (const int64_t[]){1}, 1);
    CHECK_OK(speft_select(adapter, NULL, &error));
    accumulate_dense(adapter, 0, VECTOR(((float[]){100, sparse}), float32, 2));
    accumulate_dense(adapter, 1, VECTOR(((float[]){dense}), float32, 1));
    return adapter;
}

static void test_clipping_is_over_all_that_is_trained(void) {
    float weights[2][2] = {{1, 2}, {3, 0}};
    speft_context *context = create_context();
    speft_adapter *adapter = start_three_four(context, weights, 3, 4);
    double norm = 0;

    CHECK_OK(speft_clip_gradient(adapter, INFINITY, &norm, &error));
    CHECK(norm == 5);
    CHECK_OK(speft_clip_gradient(adapter, 5, &norm, &error));
    CHECK(norm == 5 && lend_gradient(adapter, 0)[0] == 3 && lend_gradient(adapter, 1)[0] == 4);

    const float factor = (float)(2.0 / (5 + 1e-6));
    CHECK_OK(speft_clip_gradient(adapter, 2, NULL, &error));
    CHECK(lend_gradient(adapter, 0)[0] == 3 * factor);
    CHECK(lend_gradient(adapter, 1)[0] == 4 * factor);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_a_norm_that_is_not_finite_scales_nothing(void) {
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    for (int i = 0; i < COUNT_OF(bad); ++i) {
        float weights[2][2] = {{1, 2}, {3, 0}};
        speft_context *context = create_context();
        speft_adapter *adapter = start_three_four(context, weights, bad[i], 4);
        double norm = -1;
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "norm", speft_clip_gradient(adapter, 1, &norm, &error));
        CHECK(norm == -1);
        CHECK(lend_gradient(adapter, 1)[0] == 4);
        CHECK_OK(speft_clip_gradient(adapter, INFINITY, &norm, &error));
        CHECK(isnan(bad[i]) ? isnan(norm) : isinf(norm));
        speft_destroy_adapter(adapter);
        speft_destroy_context(context);
    }
}

static void test_a_norm_above_floats_range(void) {
    float weights[2][2] = {{1, 2}, {3, 0}};
    speft_context *context = create_context();
    speft_adapter *adapter = start_three_four(context, weights, 3e30f, 4e30f);
    double norm = 0;
    CHECK_OK(speft_clip_gradient(adapter, INFINITY, &norm, &error));
    /* Within the rounding of the two floats: 2^-24 of each. */
    CHECK(fabs(norm - 5e30) <= 5e30 * 0x1p-23);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

/* ---- steps ---- */

static speft_step_options step_options(void) {
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    return options;
}

static speft_hyperparameters hyperparameters_of(struct adamw adamw) {
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.learning_rate = adamw.learning_rate;
    hyperparameters.beta1 = adamw.beta1;
    hyperparameters.beta2 = adamw.beta2;
    hyperparameters.epsilon = adamw.epsilon;
    hyperparameters.weight_decay = adamw.weight_decay;
    hyperparameters.decay = adamw.decay_to_zero ? SPEFT_DECAY_TO_ZERO : SPEFT_DECAY_TO_ORIGINAL;
    return hyperparameters;
}

/* Ten steps, held against the reference bit by bit. */
static void check_steps(int32_t age, struct adamw adamw, double gradient_scale) {
    struct single single;
    start_single(&single, age);
    struct scalar scalars[SELECTED];
    float expected[SCALARS];
    memcpy(expected, single.weights, sizeof expected);
    for (int j = 0; j < SELECTED; ++j) scalars[j] = (struct scalar){single.weights[mask[j]], 0, 0, 0, 0};

    const speft_hyperparameters hyperparameters = hyperparameters_of(adamw);
    const speft_hyperparameters *const groups[] = {&hyperparameters};
    speft_step_options options = step_options();
    options.groups = groups;
    options.group_count = 1;
    options.gradient_scale = gradient_scale;
    const float scale = gradient_scale == 0 ? 1 : (float)gradient_scale;
    for (int step = 0; step < 10; ++step) {
        fill(single.gradient, SCALARS, (uint32_t)step + 50);
        accumulate_single(&single);
        CHECK_OK(speft_step(single.adapter, &options, &error));
        const float *deltas = lend_deltas(single.adapter, 0);
        for (int j = 0; j < SELECTED; ++j) {
            const float gradient = single.gradient[mask[j]] * scale;
            expected[mask[j]] = update_scalar(&scalars[j], gradient, adamw);
            CHECK(deltas[j] == scalars[j].delta);
        }
        CHECK_BYTES(single.weights, expected, sizeof expected);
    }
    finish_single(&single);
}

static void test_adamw_to_the_bit(void) {
    struct adamw adamw = adamw_defaults;
    for (int32_t age = SPEFT_AGE_COMMON; age <= SPEFT_AGE_PER_WEIGHT; ++age) {
        check_steps(age, adamw_defaults, 0);
        check_steps(age, adamw_defaults, 0.125);
        adamw = (struct adamw){0.03, 0.8, 0.95, 1e-6, 0.1, 0};
        check_steps(age, adamw, 1);
        adamw.decay_to_zero = 1;
        check_steps(age, adamw, 1);
        adamw = (struct adamw){0.5, 0, 0, 1e-8, 0, 0};
        check_steps(age, adamw, 0);
        adamw = (struct adamw){0, 0.9, 0.999, 1e-8, 0.1, 1};
        check_steps(age, adamw, 0);
    }
}

/* A dense parameter is trained as its own values: either kind of decay pulls those to 0. */
static void test_a_dense_parameter_decays_to_zero(void) {
    for (int to_zero = 0; to_zero <= 1; ++to_zero) {
        float weight = 3;
        const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
        speft_parameter parameter = DECLARE_VECTOR("head", 1);
        parameter.role = SPEFT_ROLE_DENSE;
        speft_context *context = create_context();
        speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
        bind(adapter, 0, VECTOR(&weight, float32, 1));
        CHECK_OK(speft_select(adapter, NULL, &error));
        CHECK(weight == 3 && lend_deltas(adapter, 0)[0] == 3);

        const struct adamw adamw = {0.03, 0.9, 0.999, 1e-8, 0.1, to_zero};
        const speft_hyperparameters hyperparameters = hyperparameters_of(adamw);
        const speft_hyperparameters *const groups[] = {&hyperparameters};
        speft_step_options options = step_options();
        options.groups = groups;
        options.group_count = 1;
        struct scalar scalar = {0, 3, 0, 0, 0};
        for (int step = 0; step < 5; ++step) {
            accumulate_dense(adapter, 0, VECTOR(((float[]){0.25f}), float32, 1));
            CHECK_OK(speft_step(adapter, &options, &error));
            CHECK(weight == update_scalar(&scalar, 0.25f, adamw));
            CHECK(lend_deltas(adapter, 0)[0] == weight);
        }
        CHECK_OK(speft_unmerge(adapter, &error));
        CHECK(weight == 3);
        speft_destroy_adapter(adapter);
        speft_destroy_context(context);
    }
}

static void test_groups_have_their_own_learning_rates(void) {
    float weights[3][1] = {{1}, {1}, {1}};
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 1, 0);
    speft_parameter parameters[] = {DECLARE_VECTOR("slow", 1), DECLARE_VECTOR("fast", 1), DECLARE_VECTOR("still", 1)};
    for (int i = 0; i < 3; ++i) parameters[i].group = i;
    parameters[2].role = SPEFT_ROLE_DENSE;
    speft_context *context = create_context();
    speft_adapter *adapter = create_adapter(context, &selection, parameters, 3);
    for (int i = 0; i < 3; ++i) bind(adapter, i, VECTOR(weights[i], float32, 1));
    CHECK_OK(speft_select(adapter, NULL, &error));
    for (int i = 0; i < 3; ++i) accumulate_dense(adapter, i, VECTOR(((float[]){1}), float32, 1));

    static const double rates[] = {1e-3, 1e-1, 0};
    speft_hyperparameters hyperparameters[3];
    const speft_hyperparameters *groups[3];
    struct adamw adamw = adamw_defaults;
    for (int i = 0; i < 3; ++i) {
        adamw.learning_rate = rates[i];
        hyperparameters[i] = hyperparameters_of(adamw);
        groups[i] = &hyperparameters[i];
    }
    speft_step_options options = step_options();
    options.groups = groups;
    options.group_count = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "still", speft_step(adapter, &options, &error));
    options.group_count = 3;
    CHECK_OK(speft_step(adapter, &options, &error));
    for (int i = 0; i < 3; ++i) {
        adamw.learning_rate = rates[i];
        const int dense = parameters[i].role == SPEFT_ROLE_DENSE;
        struct scalar scalar = {dense ? 0 : 1, dense ? 1 : 0, 0, 0, 0};
        CHECK(weights[i][0] == update_scalar(&scalar, 1, adamw));
    }
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_a_kept_gradient_counts_again(void) {
    struct single kept, repeated;
    start_single(&kept, SPEFT_AGE_COMMON);
    start_single(&repeated, SPEFT_AGE_COMMON);
    speft_step_options options = step_options();
    options.keep_gradient = 1;
    accumulate_single(&kept);
    for (int step = 0; step < 3; ++step) {
        CHECK_OK(speft_step(kept.adapter, &options, &error));
        check_accumulated(kept.adapter, kept.gradient, 1);
        accumulate_single(&repeated);
        CHECK_OK(speft_step(repeated.adapter, NULL, &error));
    }
    CHECK_BYTES(kept.weights, repeated.weights, sizeof kept.weights);
    finish_single(&kept);
    finish_single(&repeated);
}

/* ---- gradients that do not arrive ---- */

static void test_a_target_without_any_gradient_is_named(void) {
    struct scene scene;
    start_selected_scene(&scene);
    accumulate_dense(scene.adapter, QUERY, &scene.gradient_views[QUERY]);
    accumulate_dense(scene.adapter, BIAS, &scene.gradient_views[BIAS]);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "value.weight", speft_step(scene.adapter, NULL, &error));
    accumulate_dense(scene.adapter, VALUE, &scene.gradient_views[VALUE]);
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    destroy_scene(&scene);
}

static void test_missing_gradients_may_be_allowed(void) {
    struct scene scene;
    start_selected_scene(&scene);
    accumulate_dense(scene.adapter, QUERY, &scene.gradient_views[QUERY]);
    accumulate_dense(scene.adapter, BIAS, &scene.gradient_views[BIAS]);
    const struct scene before = scene;
    speft_step_options options = step_options();
    options.allow_missing = 1;
    CHECK_OK(speft_step(scene.adapter, &options, &error));
    CHECK_BYTES(scene.weights[VALUE], before.weights[VALUE], sizeof scene.weights[VALUE]);
    CHECK(memcmp(scene.weights[BIAS], before.weights[BIAS], sizeof scene.weights[BIAS]) != 0);
    destroy_scene(&scene);
}

static void test_a_parameter_that_had_a_gradient_once_may_pause(void) {
    struct scene scene;
    start_selected_scene(&scene);
    accumulate_scene(&scene);
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    const struct scene before = scene;
    accumulate_dense(scene.adapter, QUERY, &scene.gradient_views[QUERY]);
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    CHECK_BYTES(scene.weights[VALUE], before.weights[VALUE], sizeof scene.weights[VALUE]);
    CHECK_BYTES(scene.weights[BIAS], before.weights[BIAS], sizeof scene.weights[BIAS]);
    CHECK(memcmp(scene.weights[QUERY], before.weights[QUERY], sizeof scene.weights[QUERY]) != 0);
    CHECK_EQUAL(read_state(scene.adapter).steps, 2);
    destroy_scene(&scene);
}

/* The common age is a parameter's own: one that has paused is corrected by the updates it had. */
static void test_a_pause_does_not_age(void) {
    for (int32_t age = SPEFT_AGE_COMMON; age <= SPEFT_AGE_PER_WEIGHT; ++age) {
        float weights[2][1] = {{1}, {1}};
        const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 1, 0);
        speft_optimizer_options optimizer;
        speft_optimizer_options_init(&optimizer, sizeof optimizer);
        optimizer.age = age;
        const speft_parameter parameters[] = {DECLARE_VECTOR("always", 1), DECLARE_VECTOR("sometimes", 1)};
        speft_context *context = create_context();
        speft_adapter *adapter = NULL;
        CHECK_OK(try_to_create(context, &selection, &optimizer, parameters, 2, &adapter));
        for (int i = 0; i < 2; ++i) bind(adapter, i, VECTOR(weights[i], float32, 1));
        CHECK_OK(speft_select(adapter, NULL, &error));
        struct scalar scalars[2] = {{1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}};
        for (int step = 0; step < 6; ++step) {
            const int count = step % 2 ? 1 : 2;
            for (int i = 0; i < count; ++i) {
                const float gradient = (float)(step + 1) / 4;
                accumulate_dense(adapter, i, VECTOR(&gradient, float32, 1));
                update_scalar(&scalars[i], gradient, adamw_defaults);
            }
            CHECK_OK(speft_step(adapter, NULL, &error));
            for (int i = 0; i < 2; ++i) CHECK(weights[i][0] == 1 + scalars[i].delta);
        }
        speft_destroy_adapter(adapter);
        speft_destroy_context(context);
    }
}

/* ---- 16-bit weights ---- */

static void check_narrow_weights(speft_dtype dtype, struct narrow type) {
    uint16_t weights[SCALARS], originals[SCALARS];
    float numbers[SCALARS], gradient[SCALARS];
    fill(numbers, SCALARS, 1);
    fill(gradient, SCALARS, 2);
    for (int i = 0; i < SCALARS; ++i) weights[i] = encode_narrow(round_narrow(numbers[i], type), type);
    weights[mask[0]] = 0x8000; /* −0: a delta of 0 leaves its bits */
    gradient[mask[0]] = 0;
    memcpy(originals, weights, sizeof weights);

    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    speft_parameter parameter = DECLARE_MATRIX("w", ROWS, COLUMNS);
    parameter.dtype = dtype;
    speft_context *context = create_context();
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    bind(adapter, 0, MATRIX(weights, dtype, ROWS, COLUMNS));
    give_mask(adapter, 0, mask, SELECTED);
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_BYTES(weights, originals, sizeof weights);
    for (int step = 0; step < 20; ++step) {
        accumulate_dense(adapter, 0, MATRIX(gradient, float32, ROWS, COLUMNS));
        CHECK_OK(speft_step(adapter, NULL, &error));
        const float *deltas = lend_deltas(adapter, 0);
        uint16_t expected[SCALARS];
        memcpy(expected, originals, sizeof expected);
        for (int j = 1; j < SELECTED; ++j) {
            const float sum = (float)decode_narrow(originals[mask[j]], type) + deltas[j];
            expected[mask[j]] = encode_narrow(round_narrow(sum, type), type);
        }
        CHECK(deltas[0] == 0);
        CHECK_BYTES(weights, expected, sizeof expected);
    }
    CHECK(memcmp(weights, originals, sizeof weights) != 0);
    CHECK_OK(speft_unmerge(adapter, &error));
    CHECK_BYTES(weights, originals, sizeof weights);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_bfloat16_weights(void) { check_narrow_weights(bfloat16, narrow_bfloat16); }

static void test_float16_weights(void) { check_narrow_weights(float16, narrow_float16); }

/* ---- nothing ---- */

static void test_parameters_without_scalars(void) {
    float weights[2] = {1, -2}, gradient[2] = {1, 1};
    for (int32_t scope = SPEFT_SCOPE_GLOBAL; scope <= SPEFT_SCOPE_PER_TENSOR; ++scope) {
        const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, scope, 0.5, 0);
        speft_parameter parameters[] = {DECLARE_MATRIX("empty", 0, 3), DECLARE_VECTOR("w", 2),
                                        DECLARE_VECTOR("empty.dense", 0), declare("scalar", 0, NULL)};
        parameters[2].role = parameters[3].role = SPEFT_ROLE_DENSE;
        float scalar = 3;
        const speft_tensor no_axes = view(&scalar, float32, 0, NULL);
        const speft_tensor *const views[] = {MATRIX(NULL, float32, 0, 3), VECTOR(weights, float32, 2),
                                             VECTOR(NULL, float32, 0), &no_axes};
        const speft_tensor *const gradients[] = {views[0], VECTOR(gradient, float32, 2), views[2], views[3]};
        speft_context *context = create_context();
        speft_adapter *adapter = create_adapter(context, &selection, parameters, 4);
        for (int i = 0; i < 4; ++i) bind(adapter, i, views[i]);
        for (int i = 0; i < 4; ++i) observe_dense(adapter, i, gradients[i]);
        CHECK_OK(speft_finish_observation(adapter, 1, &error));
        CHECK_OK(speft_select(adapter, NULL, &error));
        static const int64_t counts[] = {0, 1, 0, 1};
        for (int i = 0; i < 4; ++i) {
            int64_t indices[2];
            CHECK_EQUAL(read_mask(adapter, i, indices, 2), counts[i]);
            accumulate_dense(adapter, i, gradients[i]);
        }
        CHECK_OK(speft_step(adapter, NULL, &error));
        CHECK(weights[0] == 1 && weights[1] < -2 && scalar < 3);
        CHECK_OK(speft_unmerge(adapter, &error));
        CHECK(weights[0] == 1 && weights[1] == -2 && scalar == 3);
        speft_destroy_adapter(adapter);
        speft_destroy_context(context);
    }
}

int main(void) {
    RUN(test_a_dense_gradient_is_taken_at_the_mask);
    RUN(test_values_are_in_the_masks_order);
    RUN(test_activations_are_their_product);
    RUN(test_activations_of_a_dense_parameter);
    RUN(test_gradients_of_16_bits);
    RUN(test_contributions_add_up_each_with_its_scale);
    RUN(test_an_offset_view);
    RUN(test_a_cleared_gradient_is_gone);
    RUN(test_the_lent_gradient_is_what_the_step_uses);
    RUN(test_writing_the_lent_gradient_is_no_contribution);
    RUN(test_lent_shapes);
    RUN(test_clipping_is_over_all_that_is_trained);
    RUN(test_a_norm_that_is_not_finite_scales_nothing);
    RUN(test_a_norm_above_floats_range);
    RUN(test_adamw_to_the_bit);
    RUN(test_a_dense_parameter_decays_to_zero);
    RUN(test_groups_have_their_own_learning_rates);
    RUN(test_a_kept_gradient_counts_again);
    RUN(test_a_target_without_any_gradient_is_named);
    RUN(test_missing_gradients_may_be_allowed);
    RUN(test_a_parameter_that_had_a_gradient_once_may_pause);
    RUN(test_a_pause_does_not_age);
    RUN(test_bfloat16_weights);
    RUN(test_float16_weights);
    RUN(test_parameters_without_scalars);
    return check_result();
}
