/* Every optimizer in every state, as a caller sees it: what a step makes of the weights, against the formulas of
 * optimizer.h in double; and stopping and going on, bit for bit as if training had never stopped. */
#include "scene.h"

enum { STEPS = 6 };

struct setting {
    int32_t kind;
    int32_t state;
    int32_t age;
};

static const struct setting settings[] = {
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_FLOAT32, SPEFT_AGE_PER_WEIGHT},
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_BFLOAT16, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_ADAMW, SPEFT_STATE_BLOCKS8, SPEFT_AGE_PER_WEIGHT},
    {SPEFT_OPTIMIZER_ADAM, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_ADAM, SPEFT_STATE_BFLOAT16, SPEFT_AGE_PER_WEIGHT},
    {SPEFT_OPTIMIZER_ADAM, SPEFT_STATE_BLOCKS8, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_BFLOAT16, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_SGD, SPEFT_STATE_BLOCKS8, SPEFT_AGE_PER_WEIGHT},
    {SPEFT_OPTIMIZER_LION, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_LION, SPEFT_STATE_BFLOAT16, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_LION, SPEFT_STATE_BLOCKS8, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_SM3, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
    {SPEFT_OPTIMIZER_SM3, SPEFT_STATE_BLOCKS8, SPEFT_AGE_PER_WEIGHT},
    {SPEFT_OPTIMIZER_ADAFACTOR, SPEFT_STATE_FLOAT32, SPEFT_AGE_COMMON},
};

static const int32_t decays[] = {SPEFT_DECAY_TO_ORIGINAL, SPEFT_DECAY_TO_ZERO, SPEFT_DECAY_AFTER_UPDATE};

static speft_hyperparameters choose_rates(int32_t decay) {
    speft_hyperparameters rates;
    speft_hyperparameters_init(&rates, sizeof rates);
    rates.learning_rate = 0.03125;
    rates.beta2 = 0.99;
    rates.weight_decay = 0.25;
    rates.momentum = 0.5;
    rates.decay = decay;
    return rates;
}

/* Selected by magnitude. */
static struct scene start(const struct setting *setting) {
    struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.context = create_context();
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = setting->kind;
    optimizer.state = setting->state;
    optimizer.age = setting->age;
    speft_parameter parameters[SCENE_PARAMETERS];
    declare_scene(parameters);
    CHECK_OK(try_to_create(scene.context, &selection, &optimizer, parameters, SCENE_PARAMETERS, &scene.adapter));
    for (int i = 0; i < SCENE_PARAMETERS; ++i) fill(scene.weights[i], scene_sizes[i], (uint32_t)i + 1);
    return scene;
}

static void step_once(struct scene *scene, const speft_hyperparameters *rates, int number) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        fill(scene->gradients[i], scene_sizes[i], (uint32_t)(10 * number + i + 5));
        accumulate_dense(scene->adapter, i, &scene->gradient_views[i]);
    }
    const speft_hyperparameters *const groups[] = {rates};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    CHECK_OK(speft_step(scene->adapter, &options, &error));
}

/* ---- the formulas ---- */

struct truth {
    double value[SCENE_SCALARS]; /* φ, of a dense parameter the weight */
    double original[SCENE_SCALARS];
    double first[SCENE_SCALARS], second[SCENE_SCALARS]; /* moments */
    double rows[SCENE_SCALARS], columns[SCENE_SCALARS];
};

struct place {
    int dense, row, column, factored;
};

static struct place place_of(int parameter, int64_t index) {
    const int columns = scene_ndims[parameter] == 2 ? (int)scene_shapes[parameter][1] : 1;
    const struct place place = {parameter == BIAS, (int)(index / columns), (int)(index % columns), columns > 1};
    return place;
}

static void advance_factored(struct truth *truth, const struct setting *setting, int parameter, const int64_t *mask,
                             int64_t count, const float *gradients, int number, double *change) {
    double rows[SCENE_SCALARS], columns[SCENE_SCALARS];
    double row_counts[SCENE_SCALARS] = {0}, column_counts[SCENE_SCALARS] = {0};
    const int sm3 = setting->kind == SPEFT_OPTIMIZER_SM3;
    const double fresh = pow(number + 1, -0.8);
    memcpy(rows, truth->rows, sizeof rows);
    memcpy(columns, truth->columns, sizeof columns);
    for (int64_t j = 0; j < count; ++j) {
        const struct place at = place_of(parameter, mask[j]);
        ++row_counts[at.row];
        ++column_counts[at.column];
    }
    for (int i = 0; i < SCENE_SCALARS && !sm3; ++i) {
        if (row_counts[i] > 0) rows[i] *= 1 - fresh;
        if (column_counts[i] > 0) columns[i] *= 1 - fresh;
    }
    for (int64_t j = 0; j < count; ++j) {
        const struct place at = place_of(parameter, mask[j]);
        const double g = gradients[mask[j]], part = g * g + 1e-30;
        if (sm3) {
            const double least = at.factored ? fmin(truth->rows[at.row], truth->columns[at.column])
                                             : truth->rows[at.row];
            const double sum = least + g * g;
            change[j] = sum == 0 ? 0 : g / sqrt(sum);
            rows[at.row] = fmax(rows[at.row], sum);
            columns[at.column] = fmax(columns[at.column], sum);
        } else {
            rows[at.row] += fresh * part / row_counts[at.row];
            columns[at.column] += fresh * part / column_counts[at.column];
        }
    }
    memcpy(truth->rows, rows, sizeof rows);
    memcpy(truth->columns, columns, sizeof columns);
    if (sm3) return;
    double mean = 0, squares = 0;
    for (int64_t j = 0; j < count; ++j) mean += rows[place_of(parameter, mask[j]).row] / (double)count;
    for (int64_t j = 0; j < count; ++j) {
        const struct place at = place_of(parameter, mask[j]);
        change[j] = gradients[mask[j]] / sqrt(at.factored ? rows[at.row] / mean * columns[at.column] : rows[at.row]);
        squares += change[j] * change[j] / (double)count;
    }
    for (int64_t j = 0; j < count; ++j) change[j] /= fmax(1, sqrt(squares));
}

/* One update of one parameter; `number` counts from 0. */
static void advance(struct truth *truth, const struct setting *setting, const speft_hyperparameters *rates,
                    int parameter, const int64_t *mask, int64_t count, const float *gradients, int number) {
    double change[SCENE_SCALARS] = {0};
    const int coupled = setting->kind == SPEFT_OPTIMIZER_ADAM || setting->kind == SPEFT_OPTIMIZER_SGD;
    const int after = rates->decay == SPEFT_DECAY_AFTER_UPDATE;
    if (setting->kind == SPEFT_OPTIMIZER_SM3 || setting->kind == SPEFT_OPTIMIZER_ADAFACTOR)
        advance_factored(truth, setting, parameter, mask, count, gradients, number, change);
    for (int64_t j = 0; j < count; ++j) {
        double g = gradients[mask[j]];
        const double merged = parameter == BIAS ? truth->value[j] : truth->original[j] + truth->value[j];
        const double pulled = rates->decay == SPEFT_DECAY_TO_ZERO ? merged : truth->value[j];
        if (coupled && !after) g += rates->weight_decay * pulled;
        if (!coupled && !after) truth->value[j] -= rates->learning_rate * rates->weight_decay * pulled;
        double *const m = &truth->first[j], *const v = &truth->second[j];
        switch (setting->kind) {
        case SPEFT_OPTIMIZER_ADAMW:
        case SPEFT_OPTIMIZER_ADAM:
            *m = rates->beta1 * *m + (1 - rates->beta1) * g;
            *v = rates->beta2 * *v + (1 - rates->beta2) * g * g;
            change[j] = *m / (1 - pow(rates->beta1, number + 1)) /
                        (sqrt(*v / (1 - pow(rates->beta2, number + 1))) + rates->epsilon);
            break;
        case SPEFT_OPTIMIZER_SGD:
            change[j] = *m = rates->momentum * *m + g;
            break;
        case SPEFT_OPTIMIZER_LION: {
            const double followed = rates->beta1 * *m + (1 - rates->beta1) * g;
            change[j] = (followed > 0) - (followed < 0);
            *m = rates->beta2 * *m + (1 - rates->beta2) * g;
            break;
        }
        default: break;
        }
        truth->value[j] -= rates->learning_rate * change[j];
        if (after) truth->value[j] -= rates->learning_rate * rates->weight_decay * truth->value[j];
    }
}

/* How far a delta may be from truth. float32: some 20 roundings a step of numbers below 4. Moments in fewer bits: half
 * of an update's size, of which there are STEPS; Lion's may have another sign. */
static double tolerance_of(const struct setting *setting, const speft_hyperparameters *rates) {
    if (setting->state == SPEFT_STATE_FLOAT32 || setting->kind == SPEFT_OPTIMIZER_SM3) return STEPS * 20 * 0x1p-24 * 4;
    return rates->learning_rate * STEPS * (setting->kind == SPEFT_OPTIMIZER_LION ? 2 : 0.5);
}

static void check_setting(const struct setting *setting, const speft_hyperparameters *rates) {
    struct scene scene = start(setting);
    bind_scene(&scene);
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    struct truth *truths = calloc(SCENE_PARAMETERS, sizeof *truths);
    int64_t masks[SCENE_PARAMETERS][SCENE_SCALARS], counts[SCENE_PARAMETERS];
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        counts[i] = read_mask(scene.adapter, i, masks[i], SCENE_SCALARS);
        for (int64_t j = 0; j < counts[i]; ++j) {
            truths[i].original[j] = scene.weights[i][masks[i][j]];
            truths[i].value[j] = i == BIAS ? truths[i].original[j] : 0;
        }
    }
    for (int number = 0; number < STEPS; ++number) {
        step_once(&scene, rates, number);
        for (int i = 0; i < SCENE_PARAMETERS; ++i)
            advance(&truths[i], setting, rates, i, masks[i], counts[i], scene.gradients[i], number);
    }
    double moved = 0;
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        const float *const deltas = lend_deltas(scene.adapter, i);
        for (int64_t j = 0; j < counts[i]; ++j) {
            CHECK(fabs(deltas[j] - truths[i].value[j]) <= tolerance_of(setting, rates));
            const float merged = i == BIAS ? deltas[j] : (float)truths[i].original[j] + deltas[j];
            CHECK(scene.weights[i][masks[i][j]] == merged);
            moved = fmax(moved, fabs(merged - truths[i].original[j]));
        }
    }
    CHECK(moved > rates->learning_rate);
    free(truths);
    destroy_scene(&scene);
}

static void test_steps_follow_the_formulas(void) {
    for (int64_t i = 0; i < COUNT_OF(settings); ++i)
        for (int64_t decay = 0; decay < COUNT_OF(decays); ++decay) {
            const speft_hyperparameters rates = choose_rates(decays[decay]);
            check_setting(&settings[i], &rates);
        }
}

/* ---- stopping and going on ---- */

static void test_resuming_is_as_if_never_stopped(void) {
    static const char *const path = "optimizers.safetensors";
    for (int64_t i = 0; i < COUNT_OF(settings); ++i) {
        const speft_hyperparameters rates = choose_rates(SPEFT_DECAY_TO_ZERO);
        struct scene scene = start(&settings[i]);
        bind_scene(&scene);
        CHECK_OK(speft_select(scene.adapter, NULL, &error));
        for (int number = 0; number < 3; ++number) step_once(&scene, &rates, number);
        CHECK_OK(speft_save_checkpoint(scene.adapter, NULL, path, &error));
        struct scene resumed = scene;
        resumed.context = create_context();
        CHECK_OK(speft_load_checkpoint(resumed.context, NULL, path, &resumed.adapter, &error));
        CHECK_EQUAL(remove(path), 0);
        bind_scene(&resumed);
        CHECK_OK(speft_merge(resumed.adapter, &error));
        for (int number = 3; number < STEPS; ++number) {
            step_once(&scene, &rates, number);
            step_once(&resumed, &rates, number);
        }
        CHECK_BYTES(resumed.weights, scene.weights, sizeof scene.weights);
        for (int p = 0; p < SCENE_PARAMETERS; ++p)
            CHECK_BYTES(lend_deltas(resumed.adapter, p), lend_deltas(scene.adapter, p),
                        (size_t)count_selected(scene.adapter, p) * sizeof(float));
        destroy_scene(&resumed);
        destroy_scene(&scene);
    }
}

/* ---- refusals ---- */

static void test_values_without_a_meaning(void) {
    static const struct {
        int32_t kind, age, state;
        const char *word;
    } wrong[] = {{0, 0, 0, "kind"}, {7, 0, 0, "kind"}, {1, 2, 0, "age"}, {1, 0, 3, "state"}, {1, 0, -1, "state"}};
    speft_context *context = create_context();
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_parameter parameters[SCENE_PARAMETERS];
    declare_scene(parameters);
    speft_adapter *adapter = NULL;
    for (int64_t i = 0; i < COUNT_OF(wrong); ++i) {
        speft_optimizer_options optimizer;
        speft_optimizer_options_init(&optimizer, sizeof optimizer);
        optimizer.kind = wrong[i].kind;
        optimizer.age = wrong[i].age;
        optimizer.state = wrong[i].state;
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, wrong[i].word,
                    try_to_create(context, &selection, &optimizer, parameters, SCENE_PARAMETERS, &adapter));
    }
    CHECK(adapter == NULL);
    speft_destroy_context(context);
}

static void test_decays_without_a_meaning(void) {
    struct scene scene;
    start_trained_scene(&scene);
    for (int32_t decay = -1; decay <= 3; decay += 4) {
        const speft_hyperparameters rates = choose_rates(decay);
        const speft_hyperparameters *const groups[] = {&rates};
        speft_step_options options;
        speft_step_options_init(&options, sizeof options);
        options.groups = groups;
        options.group_count = 1;
        CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "decay", speft_step(scene.adapter, &options, &error));
    }
    destroy_scene(&scene);
}

int main(void) {
    RUN(test_steps_follow_the_formulas);
    RUN(test_resuming_is_as_if_never_stopped);
    RUN(test_values_without_a_meaning);
    RUN(test_decays_without_a_meaning);
    return check_result();
}
