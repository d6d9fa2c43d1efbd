/* Masks that move while training, seen from C: when a reselection is due and what it tells, that dropped weights regain
 * their bits and settled ones keep their deltas, and that nothing changes when one fails. What SpIEL computes is
 * compared with its algorithms written out in NumPy, in the tests of the Python package. */
#include "host.h"
#include "numbers.h"

enum { TENSORS = 2, SCALARS = 60, TOKENS = 9, TOTAL = 95, BUDGET = 12 };

static const int64_t shapes[TENSORS][2] = {{5, 7}, {6, 10}};
static const int64_t sizes[TENSORS] = {35, 60};

struct life {
    speft_context *context;
    speft_adapter *adapter;
    float weights[TENSORS][SCALARS], originals[TENSORS][SCALARS];
    float x[TENSORS][TOKENS * 10], dy[TENSORS][TOKENS * 6];
    int exchange; /* every other gradient comes from a layer whose weight lies [in, out] */
};

static speft_schedule_options make_schedule(int64_t every, int64_t window, int64_t total) {
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.reselect_every = every;
    schedule.window = window;
    schedule.total_steps = total;
    schedule.track_moves = 1;
    return schedule;
}

static speft_status try_to_start(struct life *life, int32_t method, const speft_schedule_options *schedule,
                                 int32_t optimizer_kind) {
    const speft_parameter parameters[TENSORS] = {declare("a", 2, shapes[0]), declare("b", 2, shapes[1])};
    speft_selection_options selection = choose(method, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    selection.schedule = schedule;
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = optimizer_kind;
    return try_to_create(life->context, &selection, &optimizer, parameters, TENSORS, &life->adapter);
}

static void bind_life(struct life *life, speft_adapter *adapter) {
    for (int t = 0; t < TENSORS; ++t)
        bind(adapter, t, MATRIX(life->weights[t], float32, shapes[t][0], shapes[t][1]));
}

static void start(struct life *life, int32_t method, const speft_schedule_options *schedule) {
    memset(life, 0, sizeof *life);
    life->context = create_context();
    for (uint32_t t = 0; t < TENSORS; ++t) fill(life->weights[t], sizes[t], t + 1);
    memcpy(life->originals, life->weights, sizeof life->weights);
    CHECK_OK(try_to_start(life, method, schedule,
                          method == SPEFT_SELECT_SPIEL_MA ? SPEFT_OPTIMIZER_SM3 : SPEFT_OPTIMIZER_ADAMW));
    bind_life(life, life->adapter);
}

static void end(struct life *life) {
    speft_destroy_adapter(life->adapter);
    speft_destroy_context(life->context);
}

/* A gradient of its own for each step. */
static void give(struct life *life, uint32_t step,
                 speft_status (*take)(speft_adapter *, int64_t, const speft_gradient *, speft_error **)) {
    for (uint32_t t = 0; t < TENSORS; ++t) {
        fill(life->x[t], TOKENS * shapes[t][1], 100 * step + t + 5);
        fill(life->dy[t], TOKENS * shapes[t][0], 100 * step + t + 7);
        const speft_tensor *const x = MATRIX(life->x[t], float32, TOKENS, shapes[t][1]);
        const speft_tensor *const dy = MATRIX(life->dy[t], float32, TOKENS, shapes[t][0]);
        const int exchanged = life->exchange && step % 2;
        const speft_gradient gradient = exchanged ? activations_gradient(dy, x, SPEFT_LAYOUT_IN_OUT)
                                                  : activations_gradient(x, dy, SPEFT_LAYOUT_OUT_IN);
        CHECK_OK(take(life->adapter, t, &gradient, &error));
    }
}

static void observe(struct life *life, uint32_t batch) {
    give(life, 1000 + batch, speft_observe);
    CHECK_OK(speft_finish_observation(life->adapter, 1, &error));
}

static void step(struct life *life, uint32_t number) {
    give(life, number, speft_accumulate);
    give(life, number + 200, speft_accumulate);
    CHECK_OK(speft_step(life->adapter, NULL, &error));
}

static speft_reselection reselect(struct life *life) {
    speft_reselection moved;
    memset(&moved, 0, sizeof moved);
    moved.struct_size = sizeof moved;
    CHECK_OK(speft_reselect(life->adapter, NULL, &moved, &error));
    return moved;
}

struct mask {
    char has[TENSORS][SCALARS];
};

static struct mask read_masks(struct life *life) {
    struct mask mask;
    memset(&mask, 0, sizeof mask);
    for (int t = 0; t < TENSORS; ++t) {
        int64_t indices[SCALARS];
        const int64_t count = read_mask(life->adapter, t, indices, SCALARS);
        for (int64_t i = 0; i < count; ++i) mask.has[t][indices[i]] = 1;
    }
    return mask;
}

/* What get_moved tells is the difference of the masks before and after. */
static void check_moved(struct life *life, const struct mask *before, const speft_reselection *moved) {
    const struct mask after = read_masks(life);
    int64_t dropped = 0, grown = 0;
    for (int t = 0; t < TENSORS; ++t) {
        int64_t counts[2] = {-1, -1}, indices[2][SCALARS];
        for (int32_t which = SPEFT_MOVED_DROPPED; which <= SPEFT_MOVED_GROWN; ++which) {
            CHECK_OK(speft_get_moved(life->adapter, t, which, &counts[which], NULL, &error));
            CHECK_OK(speft_get_moved(life->adapter, t, which, NULL, VECTOR(indices[which], int64, counts[which]),
                                     &error));
        }
        int64_t at[2] = {0, 0};
        for (int64_t i = 0; i < sizes[t]; ++i) {
            if (before->has[t][i] == after.has[t][i]) continue;
            const int which = before->has[t][i] ? SPEFT_MOVED_DROPPED : SPEFT_MOVED_GROWN;
            CHECK(at[which] < counts[which] && indices[which][at[which]] == i);
            ++at[which];
        }
        CHECK_EQUAL(at[0], counts[0]);
        CHECK_EQUAL(at[1], counts[1]);
        dropped += counts[0];
        grown += counts[1];
    }
    CHECK_EQUAL(moved->dropped, dropped);
    CHECK_EQUAL(moved->grown, grown);
}

/* Weights outside of the masks have their original bits. */
static void check_rest(struct life *life) {
    const struct mask mask = read_masks(life);
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i)
            if (!mask.has[t][i]) CHECK(life->weights[t][i] == life->originals[t][i]);
}

static int64_t count_replaced(int64_t step) { return step == 3 ? BUDGET : BUDGET * 2 * (20 - step) / (10 * 20); }

static void train_spiel(int32_t method) {
    struct life life;
    const speft_schedule_options schedule = make_schedule(5, 3, 20);
    start(&life, method, &schedule);
    CHECK_EQUAL(read_state(life.adapter).reselection_due, 0);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    CHECK_EQUAL(read_state(life.adapter).next_reselection, 3);
    CHECK_EQUAL(reselect(&life).due, 0);
    for (uint32_t t = 1; t <= 20; ++t) {
        step(&life, t);
        const int due = t >= 3 && (t - 3) % 5 == 0;
        const speft_adapter_state state = read_state(life.adapter);
        CHECK_EQUAL(state.reselection_due, due);
        CHECK_EQUAL(state.next_reselection, due ? t : t < 3 ? 3 : t < 18 ? (t - 3 + 4) / 5 * 5 + 3 : 0);
        const struct mask before = read_masks(&life);
        if (due) {
            give(&life, 50 + t, speft_accumulate);
            CHECK_FAILS(SPEFT_INVALID_STATE, "due", speft_step(life.adapter, NULL, &error));
            CHECK_FAILS(SPEFT_INVALID_STATE, "due", speft_save_checkpoint(life.adapter, NULL, "moving", &error));
            CHECK_OK(speft_clear_gradient(life.adapter, -1, &error));
        }
        const speft_reselection moved = reselect(&life);
        CHECK_EQUAL(moved.due, due);
        CHECK_EQUAL(moved.step, due ? t : 0);
        CHECK_EQUAL(moved.dropped, due ? count_replaced(t) : 0);
        CHECK_EQUAL(moved.grown, due ? count_replaced(t) : 0);
        CHECK_EQUAL(moved.settled, 0);
        if (due) check_moved(&life, &before, &moved);
        CHECK_EQUAL(reselect(&life).due, 0); /* once */
        CHECK_EQUAL(read_state(life.adapter).selected_scalars, BUDGET);
        check_rest(&life);
        for (int at = 0; at < TENSORS; ++at) {
            int64_t ages[SCALARS];
            const int64_t count = count_selected(life.adapter, at);
            CHECK_OK(speft_get_ages(life.adapter, at, VECTOR(ages, int64, count), &error));
            for (int64_t i = 0; i < count; ++i)
                CHECK(method == SPEFT_SELECT_SPIEL_MA ? ages[i] == t : ages[i] >= 1 && ages[i] <= t);
        }
    }
    CHECK_OK(speft_unmerge(life.adapter, &error));
    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
    end(&life);
}

static void test_spiel_ag(void) { train_spiel(SPEFT_SELECT_SPIEL_AG); }
static void test_spiel_ma(void) { train_spiel(SPEFT_SELECT_SPIEL_MA); }

/* A training that is saved and loaded goes on to the same bits: within a window and between two, after a step and, but
 * for the first step of a window, in the middle of an accumulation. */
static void test_resuming(void) {
    static const int32_t methods[] = {SPEFT_SELECT_SPIEL_AG, SPEFT_SELECT_SPIEL_MA, SPEFT_SELECT_MAGNITUDE};
    for (int m = 0; m < 3; ++m)
        for (uint32_t pause = 1; pause < 18; ++pause) {
            struct life life;
            const int dynamic = methods[m] == SPEFT_SELECT_MAGNITUDE, halfway = pause > 8;
            if (halfway && (pause - 9) % 4 == 0) continue; /* steps 1, 5 and 9 are a window's first */
            speft_schedule_options schedule = make_schedule(4, dynamic ? 0 : 3, 0);
            schedule.drop = dynamic ? SPEFT_DROP_MAGNITUDE : SPEFT_DROP_CHANGE;
            schedule.keep_moments = dynamic;
            start(&life, methods[m], &schedule);
            CHECK_OK(speft_select(life.adapter, NULL, &error));
            float expected[TENSORS][SCALARS];
            const uint32_t at = halfway ? pause - 8 : pause;
            for (int resumed = 0; resumed < 2; ++resumed) {
                for (uint32_t t = resumed ? at + !halfway : 1; t <= 12; ++t) {
                    const int here = t == at;
                    if (!(resumed && here && halfway)) give(&life, t, speft_accumulate);
                    if (!resumed && here && halfway)
                        CHECK_OK(speft_save_checkpoint(life.adapter, NULL, "moving.safetensors", &error));
                    give(&life, t + 200, speft_accumulate);
                    CHECK_OK(speft_step(life.adapter, NULL, &error));
                    reselect(&life);
                    if (!resumed && here && !halfway)
                        CHECK_OK(speft_save_checkpoint(life.adapter, NULL, "moving.safetensors", &error));
                }
                if (resumed) {
                    CHECK_BYTES(life.weights, expected, sizeof expected);
                    CHECK_OK(speft_unmerge(life.adapter, &error));
                    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
                    break;
                }
                memcpy(expected, life.weights, sizeof expected);
                CHECK_OK(speft_unmerge(life.adapter, &error));
                speft_destroy_adapter(life.adapter);
                CHECK_OK(speft_load_checkpoint(life.context, NULL, "moving.safetensors", &life.adapter, &error));
                bind_life(&life, life.adapter);
                CHECK_OK(speft_merge(life.adapter, &error));
            }
            end(&life);
        }
    remove("moving.safetensors");
}

static int32_t score_by_weight(void *user, int64_t parameter, const speft_tensor *weights,
                               const speft_tensor *gradient, const speft_tensor *scores) {
    (void)gradient;
    ++*(int *)user;
    memcpy(scores->data, weights->data, (size_t)sizes[parameter] * sizeof(float));
    return 0;
}

/* A function is no part of a file, and has to be given again. */
static void test_resuming_with_a_score_function(void) {
    int calls = 0;
    const speft_score_function function = {sizeof function, 0, score_by_weight, &calls};
    struct life life;
    memset(&life, 0, sizeof life);
    life.context = create_context();
    for (uint32_t t = 0; t < TENSORS; ++t) fill(life.weights[t], sizes[t], t + 1);
    const speft_schedule_options schedule = make_schedule(2, 0, 0);
    speft_selection_options selection = choose(SPEFT_SELECT_SCORE_FUNCTION, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    selection.schedule = &schedule;
    selection.score = &function;
    const speft_parameter parameters[TENSORS] = {declare("a", 2, shapes[0]), declare("b", 2, shapes[1])};
    life.adapter = create_adapter(life.context, &selection, parameters, TENSORS);
    bind_life(&life, life.adapter);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    step(&life, 1);
    CHECK_OK(speft_save_checkpoint(life.adapter, NULL, "moving.safetensors", &error));
    for (int given = 0; given < 2; ++given) {
        CHECK_OK(speft_unmerge(life.adapter, &error));
        speft_destroy_adapter(life.adapter);
        speft_load_options options;
        speft_load_options_init(&options, sizeof options);
        options.score = given ? &function : NULL;
        CHECK_OK(speft_load_checkpoint(life.context, &options, "moving.safetensors", &life.adapter, &error));
        bind_life(&life, life.adapter);
        CHECK_OK(speft_merge(life.adapter, &error));
        step(&life, 2);
        calls = 0;
        if (given)
            CHECK_EQUAL(reselect(&life).due, 1);
        else
            CHECK_FAILS(SPEFT_INVALID_STATE, "score function", speft_reselect(life.adapter, NULL, NULL, &error));
        CHECK_EQUAL(calls, given ? TENSORS : 0);
    }
    remove("moving.safetensors");
    end(&life);
}

/* The numbers of a test are exact, so that it does not matter how a weight lies. */
static void test_layouts_may_be_mixed(void) {
    struct life lives[2];
    for (int exchange = 0; exchange < 2; ++exchange) {
        struct life *const life = &lives[exchange];
        const speft_schedule_options schedule = make_schedule(4, 2, 0);
        start(life, SPEFT_SELECT_SPIEL_AG, &schedule);
        life->exchange = exchange;
        CHECK_OK(speft_select(life->adapter, NULL, &error));
        for (uint32_t t = 1; t <= 10; ++t) {
            give(life, 2 * t, speft_accumulate);
            give(life, 2 * t + 1, speft_accumulate);
            CHECK_OK(speft_step(life->adapter, NULL, &error));
            reselect(life);
        }
    }
    const struct mask one = read_masks(&lives[0]), other = read_masks(&lives[1]);
    CHECK_BYTES(&one, &other, sizeof one);
    CHECK_BYTES(lives[0].weights, lives[1].weights, sizeof lives[0].weights);
    end(&lives[0]);
    end(&lives[1]);
}

/* The gradients of a first step are held, and cannot be saved. */
static void test_a_window_that_has_begun(void) {
    struct life life;
    const speft_schedule_options schedule = make_schedule(5, 2, 0);
    start(&life, SPEFT_SELECT_SPIEL_AG, &schedule);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    give(&life, 1, speft_accumulate);
    CHECK_FAILS(SPEFT_INVALID_STATE, "window", speft_save_checkpoint(life.adapter, NULL, "moving", &error));
    const float zeros[SCALARS] = {0};
    const speft_gradient values = values_gradient(VECTOR(zeros, float32, count_selected(life.adapter, 0)));
    CHECK_FAILS(SPEFT_INVALID_STATE, "DENSE or ACTIVATIONS", speft_accumulate(life.adapter, 0, &values, &error));
    CHECK_OK(speft_clear_gradient(life.adapter, -1, &error));
    CHECK_OK(speft_save_checkpoint(life.adapter, NULL, "moving", &error));
    remove("moving");

    /* One parameter without a gradient: nothing can be chosen of it. */
    give(&life, 1, speft_accumulate);
    CHECK_OK(speft_clear_gradient(life.adapter, 1, &error));
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.allow_missing = 1;
    CHECK_FAILS(SPEFT_INVALID_STATE, "'b'", speft_step(life.adapter, &options, &error));

    /* All gradients NaN, but those of the masks, which the optimizer would take. */
    for (int t = 0; t < TENSORS; ++t) {
        float dense[SCALARS];
        for (int64_t i = 0; i < sizes[t]; ++i) dense[i] = NAN;
        CHECK_OK(speft_clear_gradient(life.adapter, t, &error));
        accumulate_dense(life.adapter, t, MATRIX(dense, float32, shapes[t][0], shapes[t][1]));
    }
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "NaN", speft_step(life.adapter, NULL, &error));
    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
    CHECK_EQUAL(read_state(life.adapter).steps, 0);

    /* All zero is a gradient: the first scalars outside of the masks are the candidates. */
    CHECK_OK(speft_clear_gradient(life.adapter, -1, &error));
    for (uint32_t t = 0; t < 2; ++t) {
        for (int at = 0; at < TENSORS; ++at)
            accumulate_dense(life.adapter, at, MATRIX(zeros, float32, shapes[at][0], shapes[at][1]));
        CHECK_OK(speft_step(life.adapter, NULL, &error));
    }
    const struct mask before = read_masks(&life);
    CHECK_EQUAL(reselect(&life).grown, BUDGET);
    const struct mask after = read_masks(&life);
    int64_t left = BUDGET;
    for (int64_t i = 0; left > 0; ++i)
        if (!before.has[0][i]) {
            CHECK(after.has[0][i]);
            --left;
        }
    end(&life);
}

/* ---- dynamic masks ---- */

static void test_dynamic_masks(void) {
    struct life life;
    const speft_schedule_options schedule = make_schedule(3, 0, 0);
    start(&life, SPEFT_SELECT_GRADIENT, &schedule);
    observe(&life, 0);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    char ever[TENSORS][SCALARS] = {{0}};
    for (uint32_t t = 1; t <= 12; ++t) {
        const struct mask mask = read_masks(&life);
        for (int at = 0; at < TENSORS; ++at)
            for (int64_t i = 0; i < sizes[at]; ++i) ever[at][i] |= mask.has[at][i];
        step(&life, t);
        CHECK_EQUAL(read_state(life.adapter).reselection_due, t % 3 == 0);
        if (t % 3) continue;
        CHECK_FAILS(SPEFT_INVALID_STATE, "gradient", speft_reselect(life.adapter, NULL, NULL, &error));
        observe(&life, t);
        float trained[TENSORS][SCALARS];
        memcpy(trained, life.weights, sizeof trained);
        const speft_reselection moved = reselect(&life);
        check_moved(&life, &mask, &moved);
        CHECK_BYTES(life.weights, trained, sizeof trained); /* what was learned stays */
        CHECK_EQUAL(moved.settled, read_state(life.adapter).settled_scalars);
    }
    const struct mask mask = read_masks(&life);
    int64_t settled = 0;
    for (int at = 0; at < TENSORS; ++at)
        for (int64_t i = 0; i < sizes[at]; ++i) {
            settled += ever[at][i] && !mask.has[at][i];
            if (!ever[at][i]) CHECK(life.weights[at][i] == life.originals[at][i]);
        }
    CHECK(settled > 0);
    CHECK_EQUAL(read_state(life.adapter).settled_scalars, settled);
    double share;
    CHECK_OK(speft_measure_rounding_loss(life.adapter, -1, &share, &error));

    /* A file holds all that was ever changed, and brings the same weights. */
    CHECK_OK(speft_save_adapter(life.adapter, NULL, "union.safetensors", &error));
    float trained[TENSORS][SCALARS];
    memcpy(trained, life.weights, sizeof trained);
    CHECK_OK(speft_unmerge(life.adapter, &error));
    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
    CHECK_OK(speft_merge(life.adapter, &error));
    CHECK_BYTES(life.weights, trained, sizeof trained);
    CHECK_OK(speft_unmerge(life.adapter, &error));
    speft_adapter *loaded = NULL;
    CHECK_OK(speft_load_adapter(life.context, NULL, "union.safetensors", &loaded, &error));
    CHECK_EQUAL(read_state(loaded).selected_scalars, BUDGET + settled);
    CHECK_EQUAL(read_state(loaded).next_reselection, 0); /* it has no training to go on with */
    bind_life(&life, loaded);
    CHECK_OK(speft_merge(loaded, &error));
    CHECK_BYTES(life.weights, trained, sizeof trained);
    CHECK_OK(speft_unmerge(loaded, &error));
    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
    speft_destroy_adapter(loaded);
    remove("union.safetensors");
    end(&life);
}

/* With a limit the settled weights with the least |δ| regain their bits. */
static void test_a_limit_of_what_is_settled(void) {
    struct life life;
    speft_schedule_options schedule = make_schedule(1, 0, 0);
    schedule.settled_limit = 5;
    start(&life, SPEFT_SELECT_RANDOM, &schedule);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    for (uint32_t t = 1; t <= 6; ++t) {
        step(&life, t);
        const speft_reselection moved = reselect(&life);
        CHECK(moved.settled <= 5);
        CHECK(t < 3 || moved.settled == 5);
        int64_t changed = 0;
        const struct mask mask = read_masks(&life);
        for (int at = 0; at < TENSORS; ++at)
            for (int64_t i = 0; i < sizes[at]; ++i)
                changed += !mask.has[at][i] && life.weights[at][i] != life.originals[at][i];
        CHECK(changed <= 5);
    }
    CHECK_OK(speft_unmerge(life.adapter, &error));
    CHECK_BYTES(life.weights, life.originals, sizeof life.weights);
    end(&life);
}

/* A reselection that fails leaves masks, deltas and weights, and can be made again. */
static void test_weights_changed_behind_the_adapter(void) {
    struct life life;
    const speft_schedule_options schedule = make_schedule(5, 1, 0);
    start(&life, SPEFT_SELECT_SPIEL_MA, &schedule);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    step(&life, 1);
    const struct mask before = read_masks(&life);
    int64_t indices[SCALARS];
    CHECK(read_mask(life.adapter, 1, indices, SCALARS) > 0);
    const float kept = life.weights[1][indices[0]];
    life.weights[1][indices[0]] = 77;
    float spoiled[TENSORS][SCALARS];
    memcpy(spoiled, life.weights, sizeof spoiled);
    CHECK_FAILS(SPEFT_INVALID_STATE, "behind", speft_reselect(life.adapter, NULL, NULL, &error));
    CHECK_BYTES(life.weights, spoiled, sizeof spoiled);
    const struct mask after = read_masks(&life);
    CHECK_BYTES(&after, &before, sizeof before);
    CHECK_EQUAL(read_state(life.adapter).reselection_due, 1);
    life.weights[1][indices[0]] = kept;
    CHECK_EQUAL(reselect(&life).dropped, BUDGET);
    end(&life);
}

static void test_schedules_that_cannot_be(void) {
    struct life life;
    memset(&life, 0, sizeof life);
    life.context = create_context();
    const int32_t ag = SPEFT_SELECT_SPIEL_AG, adamw = SPEFT_OPTIMIZER_ADAMW;
    speft_schedule_options schedule = make_schedule(5, 6, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "window", try_to_start(&life, ag, &schedule, adamw)); /* S < γ */
    schedule = make_schedule(20, 5, 19);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "reselect_every", try_to_start(&life, ag, &schedule, adamw));
    schedule = make_schedule(20, 5, 4);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "total_steps", try_to_start(&life, ag, &schedule, adamw));
    schedule = make_schedule(5, 3, 20);
    schedule.candidates = BUDGET - 1; /* K < what must grow */
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "candidates", try_to_start(&life, ag, &schedule, adamw));
    schedule.candidates = 0;
    schedule.rate = 1.5;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rate", try_to_start(&life, ag, &schedule, adamw));
    schedule.rate = NAN;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "rate", try_to_start(&life, ag, &schedule, adamw));
    schedule.rate = 0;
    schedule.schedule = 5;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "SPEFT_SCHEDULE_", try_to_start(&life, ag, &schedule, adamw));
    schedule.schedule = SPEFT_SCHEDULE_COSINE;
    schedule.total_steps = 0;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "total_steps", try_to_start(&life, ag, &schedule, adamw));
    schedule = make_schedule(5, 3, 20);
    schedule.drop = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "drop", try_to_start(&life, ag, &schedule, adamw));
    schedule.drop = 0;
    schedule.settled_limit = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "settled_limit", try_to_start(&life, ag, &schedule, adamw));
    schedule.settled_limit = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "settled_limit", try_to_start(&life, ag, &schedule, adamw));
    schedule.settled_limit = 0;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "SM3", try_to_start(&life, SPEFT_SELECT_SPIEL_MA, &schedule, adamw));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "window", try_to_start(&life, SPEFT_SELECT_GRADIENT, &schedule, adamw));
    schedule = make_schedule(5, 0, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "weight-change",
                try_to_start(&life, SPEFT_SELECT_WEIGHT_CHANGE, &schedule, adamw));
    schedule = make_schedule(0, 0, 0);
    schedule.track_moves = 0;
    schedule.keep_moments = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "reselect_every",
                try_to_start(&life, SPEFT_SELECT_GRADIENT, &schedule, adamw));

    /* Half of the scalars or more: too few are left to replace them all. */
    const speft_parameter matrix = declare("a", 2, shapes[0]);
    speft_selection_options selection = choose(ag, SPEFT_SCOPE_PER_TENSOR, 0, 18);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "18 of the 35 scalars of parameter 'a'",
                try_to_create(life.context, &selection, NULL, &matrix, 1, &life.adapter));
    selection.scope = SPEFT_SCOPE_PER_ROW;
    selection.budget = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "row",
                try_to_create(life.context, &selection, NULL, &matrix, 1, &life.adapter));
    const speft_parameter flat = DECLARE_VECTOR("flat", 50);
    selection = choose(SPEFT_SELECT_SPIEL_MA, SPEFT_SCOPE_GLOBAL, 0, 5);
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = SPEFT_OPTIMIZER_SM3;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'flat' has fewer than 2 axes",
                try_to_create(life.context, &selection, &optimizer, &flat, 1, &life.adapter));
    CHECK(life.adapter == NULL);
    speft_destroy_context(life.context);
}

static void test_calls_out_of_order(void) {
    struct life life;
    const speft_schedule_options schedule = make_schedule(5, 1, 0);
    start(&life, SPEFT_SELECT_SPIEL_MA, &schedule);
    int64_t count;
    CHECK_FAILS(SPEFT_INVALID_STATE, "select", speft_reselect(life.adapter, NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "select", speft_get_moved(life.adapter, 0, 0, &count, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "select", speft_get_ages(life.adapter, 0, VECTOR(&count, int64, 1), &error));
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "which", speft_get_moved(life.adapter, 0, 2, &count, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameter", speft_get_moved(life.adapter, 2, 0, &count, NULL, &error));
    CHECK_OK(speft_get_moved(life.adapter, 0, SPEFT_MOVED_GROWN, &count, NULL, &error));
    CHECK_EQUAL(count, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "shape", speft_get_ages(life.adapter, 0, VECTOR(&count, int64, 0), &error));
    step(&life, 1);
    CHECK_OK(speft_unmerge(life.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "unmerged", speft_reselect(life.adapter, NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_reselect(NULL, NULL, NULL, &error));
    end(&life);

    /* SM3 where no optimizer is named. Its schedule tracks no moves. */
    memset(&life, 0, sizeof life);
    life.context = create_context();
    const speft_parameter parameters[TENSORS] = {declare("a", 2, shapes[0]), declare("b", 2, shapes[1])};
    const speft_selection_options selection = choose(SPEFT_SELECT_SPIEL_MA, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    life.adapter = create_adapter(life.context, &selection, parameters, TENSORS);
    bind_life(&life, life.adapter);
    CHECK_OK(speft_select(life.adapter, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "track_moves", speft_get_moved(life.adapter, 0, 0, &count, NULL, &error));
    end(&life);
}

int main(void) {
    RUN(test_spiel_ag);
    RUN(test_spiel_ma);
    RUN(test_resuming);
    RUN(test_resuming_with_a_score_function);
    RUN(test_layouts_may_be_mixed);
    RUN(test_a_window_that_has_begun);
    RUN(test_dynamic_masks);
    RUN(test_a_limit_of_what_is_settled);
    RUN(test_weights_changed_behind_the_adapter);
    RUN(test_schedules_that_cannot_be);
    RUN(test_calls_out_of_order);
    return check_result();
}
