/* Which scalars are chosen: every method, scope and way to say how many, against a search by brute force. */
#include "host.h"
#include "numbers.h"

enum { TENSORS = 3, SCALARS = 60 };

static const int64_t shapes[TENSORS][2] = {{5, 7}, {6, 10}, {1, 3}};
static const int64_t sizes[TENSORS] = {35, 60, 3};
static const int64_t total = 98;
static const char *const names[TENSORS] = {"first", "second", "third"};

/* What is ranked, and what came of it. */
struct problem {
    float weights[TENSORS][SCALARS];
    float gradients[TENSORS][SCALARS];
    float scores[TENSORS][SCALARS];
};

struct masks {
    int64_t counts[TENSORS];
    int64_t indices[TENSORS][SCALARS];
};

static void make_problem(struct problem *problem) {
    memset(problem, 0, sizeof *problem);
    for (int t = 0; t < TENSORS; ++t) {
        fill(problem->weights[t], sizes[t], (uint32_t)t + 1);
        fill(problem->gradients[t], sizes[t], (uint32_t)t + 4);
        fill(problem->scores[t], sizes[t], (uint32_t)t + 7);
    }
}

static void declare_problem(speft_parameter parameters[TENSORS]) {
    for (int t = 0; t < TENSORS; ++t) parameters[t] = declare(names[t], 2, shapes[t]);
}

static void read_masks(speft_adapter *adapter, struct masks *masks) {
    memset(masks, 0, sizeof *masks);
    for (int t = 0; t < TENSORS; ++t) masks->counts[t] = read_mask(adapter, t, masks->indices[t], SCALARS);
}

static void check_same_masks(const struct masks *actual, const struct masks *expected, const char *what) {
    if (memcmp(actual, expected, sizeof *actual) == 0) return;
    fprintf(stderr, "other masks than expected: %s\n", what);
    for (int t = 0; t < TENSORS; ++t)
        fprintf(stderr, "    %s: %" PRId64 " of %" PRId64 " expected\n", names[t], actual->counts[t],
                expected->counts[t]);
    atomic_fetch_add(&check_failures, 1);
}

static speft_adapter *start(speft_context *context, struct problem *problem,
                            const speft_selection_options *selection) {
    speft_parameter parameters[TENSORS];
    declare_problem(parameters);
    speft_adapter *adapter = create_adapter(context, selection, parameters, TENSORS);
    for (int t = 0; t < TENSORS; ++t)
        bind(adapter, t, MATRIX(problem->weights[t], float32, shapes[t][0], shapes[t][1]));
    return adapter;
}

static void give_scores(speft_adapter *adapter, const struct problem *problem) {
    for (int t = 0; t < TENSORS; ++t) {
        const speft_tensor *scores = MATRIX(problem->scores[t], float32, shapes[t][0], shapes[t][1]);
        CHECK_OK(speft_set_scores(adapter, t, scores, &error));
    }
}

static void observe(speft_adapter *adapter, const float gradients[TENSORS][SCALARS]) {
    for (int t = 0; t < TENSORS; ++t)
        observe_dense(adapter, t, MATRIX(gradients[t], float32, shapes[t][0], shapes[t][1]));
}

/* The masks that the library chooses. Destroys nothing of the problem: selecting leaves the weights alone. */
static void select_masks(struct problem *problem, const speft_selection_options *selection, struct masks *masks) {
    const struct problem before = *problem;
    speft_context *context = create_context();
    speft_adapter *adapter = start(context, problem, selection);
    if (selection->method == SPEFT_SELECT_GRADIENT || selection->method == SPEFT_SELECT_SNIP) {
        observe(adapter, (const float(*)[SCALARS])problem->gradients);
        CHECK_OK(speft_finish_observation(adapter, 1, &error));
    }
    if (selection->method == SPEFT_SELECT_GIVEN_SCORES) give_scores(adapter, problem);
    CHECK_OK(speft_select(adapter, NULL, &error));
    read_masks(adapter, masks);
    CHECK_BYTES(problem->weights, before.weights, sizeof before.weights);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

/* ---- the rules, by brute force ---- */

static float score_of(const struct problem *problem, int32_t method, int t, int64_t i) {
    switch (method) {
    case SPEFT_SELECT_MAGNITUDE: return fabsf(problem->weights[t][i]);
    case SPEFT_SELECT_GRADIENT: return fabsf(problem->gradients[t][i]);
    case SPEFT_SELECT_SNIP: return fabsf(problem->gradients[t][i] * problem->weights[t][i]);
    default: return problem->scores[t][i];
    }
}

/* Marks the k best of tensors [from, to): going up, only a strictly larger score displaces an earlier one. */
static void mark_best(const struct problem *problem, int32_t method, int from, int to, int64_t k,
                      int chosen[TENSORS][SCALARS]) {
    for (int64_t found = 0; found < k; ++found) {
        int best_tensor = -1;
        int64_t best_index = -1;
        float best = 0;
        for (int t = from; t < to; ++t)
            for (int64_t i = 0; i < sizes[t]; ++i) {
                const float score = score_of(problem, method, t, i);
                if (chosen[t][i] || isnan(score) || (best_tensor >= 0 && !(score > best))) continue;
                best = score, best_tensor = t, best_index = i;
            }
        if (best_tensor < 0) abort();
        chosen[best_tensor][best_index] = 1;
    }
}

static int64_t count_for(const speft_selection_options *selection, int64_t size) {
    if (selection->budget) return selection->budget;
    const int64_t k = (int64_t)floor(selection->density * (double)size + 1e-6);
    return k < 1 ? 1 : k;
}

static void expect_masks(const struct problem *problem, const speft_selection_options *selection,
                         struct masks *masks) {
    int chosen[TENSORS][SCALARS];
    memset(chosen, 0, sizeof chosen);
    if (selection->scope == SPEFT_SCOPE_GLOBAL)
        mark_best(problem, selection->method, 0, TENSORS, count_for(selection, total), chosen);
    else
        for (int t = 0; t < TENSORS; ++t)
            mark_best(problem, selection->method, t, t + 1, count_for(selection, sizes[t]), chosen);
    memset(masks, 0, sizeof *masks);
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i)
            if (chosen[t][i]) masks->indices[t][masks->counts[t]++] = i;
}

static void check_selection(struct problem *problem, const speft_selection_options *selection) {
    struct masks actual, expected;
    select_masks(problem, selection, &actual);
    expect_masks(problem, selection, &expected);
    char what[160];
    snprintf(what, sizeof what, "method %d, scope %d, density %g, budget %d", (int)selection->method,
             (int)selection->scope, selection->density, (int)selection->budget);
    check_same_masks(&actual, &expected, what);
}

static const int32_t ranking_methods[] = {SPEFT_SELECT_MAGNITUDE, SPEFT_SELECT_GRADIENT, SPEFT_SELECT_SNIP,
                                          SPEFT_SELECT_GIVEN_SCORES};

static void check_every_way(struct problem *problem) {
    for (int m = 0; m < COUNT_OF(ranking_methods); ++m) {
        const int32_t method = ranking_methods[m];
        static const double densities[] = {1e-9, 0.005, 0.1, 1.0 / 3, 0.5, 0.999, 1};
        for (int d = 0; d < COUNT_OF(densities); ++d)
            for (int32_t scope = SPEFT_SCOPE_GLOBAL; scope <= SPEFT_SCOPE_PER_TENSOR; ++scope) {
                const speft_selection_options selection = choose(method, scope, densities[d], 0);
                check_selection(problem, &selection);
            }
        static const int64_t global_budgets[] = {1, 2, 17, 97, 98};
        for (int b = 0; b < COUNT_OF(global_budgets); ++b) {
            const speft_selection_options selection = choose(method, SPEFT_SCOPE_GLOBAL, 0, global_budgets[b]);
            check_selection(problem, &selection);
        }
        for (int64_t budget = 1; budget <= 3; ++budget) { /* 3: all of the smallest tensor */
            const speft_selection_options selection = choose(method, SPEFT_SCOPE_PER_TENSOR, 0, budget);
            check_selection(problem, &selection);
        }
    }
}

static void test_the_largest_scores_win(void) {
    struct problem problem;
    make_problem(&problem);
    check_every_way(&problem);
}

/* 0.29·100 is 28.999999999999996 in float64, and means 29. */
static void test_a_density_means_the_count_it_was_written_for(void) {
    float weights[100];
    fill(weights, 100, 1);
    const speft_parameter parameter = DECLARE_VECTOR("w", 100);
    static const struct {
        double density;
        int64_t count;
    } cases[] = {{0.29, 29}, {0.57, 57}, {0.289, 28}, {0.001, 1}, {1, 100}};
    speft_context *context = create_context();
    for (int i = 0; i < COUNT_OF(cases); ++i) {
        const speft_selection_options selection =
            choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, cases[i].density, 0);
        speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
        bind(adapter, 0, VECTOR(weights, float32, 100));
        CHECK_OK(speft_select(adapter, NULL, &error));
        CHECK_EQUAL(count_selected(adapter, 0), cases[i].count);
        speft_destroy_adapter(adapter);
    }
    speft_destroy_context(context);
}

/* All of one size: only the order of tensors and indices decides. */
static void test_ties_go_to_the_smaller_tensor_then_index(void) {
    struct problem problem;
    make_problem(&problem);
    for (int t = 0; t < TENSORS; ++t)
        for (int i = 0; i < SCALARS; ++i) {
            problem.weights[t][i] = problem.gradients[t][i] = i % 2 ? 0.5f : -0.5f;
            problem.scores[t][i] = i % 2 ? 0.0f : -0.0f;
        }
    check_every_way(&problem);

    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_SCORES, SPEFT_SCOPE_GLOBAL, 0, 37);
    struct masks masks;
    select_masks(&problem, &selection, &masks);
    CHECK_EQUAL(masks.counts[0], 35);
    CHECK_EQUAL(masks.counts[1], 2);
    CHECK_EQUAL(masks.counts[2], 0);
    for (int64_t i = 0; i < 35; ++i) CHECK_EQUAL(masks.indices[0][i], i);
    for (int64_t i = 0; i < 2; ++i) CHECK_EQUAL(masks.indices[1][i], i);
}

static void test_nan_is_never_selected_and_infinity_is(void) {
    struct problem problem;
    make_problem(&problem);
    problem.weights[0][3] = problem.gradients[1][8] = problem.scores[0][0] = NAN;
    problem.weights[1][5] = problem.gradients[0][6] = problem.scores[1][59] = INFINITY;
    problem.weights[2][1] = problem.gradients[2][2] = problem.scores[2][2] = -INFINITY;
    problem.scores[0][9] = -NAN;
    static const double densities[] = {0.02, 0.25, 0.5};
    for (int m = 0; m < COUNT_OF(ranking_methods); ++m)
        for (int d = 0; d < COUNT_OF(densities); ++d)
            for (int32_t scope = SPEFT_SCOPE_GLOBAL; scope <= SPEFT_SCOPE_PER_TENSOR; ++scope) {
                const speft_selection_options selection = choose(ranking_methods[m], scope, densities[d], 0);
                check_selection(&problem, &selection);
            }
}

/* Denormal scores are told apart, and none is flushed to zero. */
static void test_denormals_rank(void) {
    struct problem problem;
    make_problem(&problem);
    for (int t = 0; t < TENSORS; ++t)
        for (int i = 0; i < SCALARS; ++i) problem.scores[t][i] = problem.weights[t][i] = (float)(i % 13) * 0x1p-149f;
    const int32_t methods[] = {SPEFT_SELECT_MAGNITUDE, SPEFT_SELECT_GIVEN_SCORES};
    for (int m = 0; m < COUNT_OF(methods); ++m) {
        const speft_selection_options selection = choose(methods[m], SPEFT_SCOPE_GLOBAL, 0, 20);
        check_selection(&problem, &selection);
    }
}

/* ---- observations ---- */

enum announcement { ANNOUNCED, TOLD_AT_THE_END, BOTH };

static void observe_batches(speft_adapter *adapter, const struct problem *first, const struct problem *second,
                            enum announcement announcement) {
    const struct problem *const batches[] = {first, second};
    static const double batch_weights[] = {3, 1};
    for (int b = 0; b < 2; ++b) {
        if (announcement != TOLD_AT_THE_END) CHECK_OK(speft_begin_observation(adapter, batch_weights[b], &error));
        observe(adapter, (const float(*)[SCALARS])batches[b]->gradients);
        const double at_the_end = announcement == ANNOUNCED ? 0 : batch_weights[b];
        CHECK_OK(speft_finish_observation(adapter, at_the_end, &error));
    }
}

static void test_observations_are_averaged_by_weight(void) {
    struct problem first, second, mean;
    make_problem(&first);
    make_problem(&second);
    for (int t = 0; t < TENSORS; ++t) fill(second.gradients[t], sizes[t], (uint32_t)t + 40);
    mean = first;
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i)
            mean.gradients[t][i] = (3 * first.gradients[t][i] + second.gradients[t][i]) / 4;

    for (int32_t method = SPEFT_SELECT_GRADIENT; method <= SPEFT_SELECT_SNIP; ++method) {
        const speft_selection_options selection = choose(method, SPEFT_SCOPE_GLOBAL, 0, 21);
        struct masks expected, actual, unweighted;
        expect_masks(&mean, &selection, &expected);
        for (int announcement = ANNOUNCED; announcement <= BOTH; ++announcement) {
            speft_context *context = create_context();
            speft_adapter *adapter = start(context, &first, &selection);
            observe_batches(adapter, &first, &second, (enum announcement)announcement);
            CHECK_EQUAL(read_state(adapter).observations, 2);
            CHECK_OK(speft_select(adapter, NULL, &error));
            read_masks(adapter, &actual);
            check_same_masks(&actual, &expected, "a mean with weights 3 and 1");
            speft_destroy_adapter(adapter);
            speft_destroy_context(context);
        }
        /* The weights matter here: one batch alone chooses otherwise. */
        expect_masks(&first, &selection, &unweighted);
        CHECK(memcmp(&unweighted, &expected, sizeof expected) != 0);
    }
}

static void test_one_batch_may_arrive_in_parts(void) {
    struct problem problem;
    make_problem(&problem);
    const speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0, 21);
    struct masks expected, actual;
    expect_masks(&problem, &selection, &expected);
    speft_context *context = create_context();
    speft_adapter *adapter = start(context, &problem, &selection);
    float parts[TENSORS][2][SCALARS];
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i) {
            parts[t][0][i] = 2;
            parts[t][1][i] = (problem.gradients[t][i] - 2) * 4;
        }
    for (int t = 0; t < TENSORS; ++t)
        for (int part = 0; part < 2; ++part) {
            const speft_tensor *dense = MATRIX(parts[t][part], float32, shapes[t][0], shapes[t][1]);
            speft_gradient gradient = dense_gradient(dense);
            gradient.scale = part ? 0.25 : 0;
            CHECK_OK(speft_observe(adapter, t, &gradient, &error));
        }
    CHECK_OK(speft_finish_observation(adapter, 2, &error));
    CHECK_OK(speft_select(adapter, NULL, &error));
    read_masks(adapter, &actual);
    check_same_masks(&actual, &expected, "one batch in two parts");
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

/* Small integers over 4: every sum of products is exact, so that dense and activations give equal scores. */
static void test_activations_choose_what_their_product_chooses(void) {
    enum { TOKENS = 8 };
    struct problem problem;
    make_problem(&problem);
    float x[TENSORS][TOKENS * 10], dy[TENSORS][TOKENS * 10];
    for (int t = 0; t < TENSORS; ++t) {
        const int64_t rows = shapes[t][0], columns = shapes[t][1];
        fill(x[t], TOKENS * columns, (uint32_t)t + 20);
        fill(dy[t], TOKENS * rows, (uint32_t)t + 30);
        for (int64_t i = 0; i < TOKENS * columns; ++i) x[t][i] = roundf(x[t][i] * 8);
        for (int64_t i = 0; i < TOKENS * rows; ++i) dy[t][i] = roundf(dy[t][i] * 8) / 4;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c) {
                float sum = 0;
                for (int k = 0; k < TOKENS; ++k) sum += dy[t][k * rows + r] * x[t][k * columns + c];
                problem.gradients[t][r * columns + c] = sum;
            }
    }
    const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, 0, 21);
    struct masks expected, actual;
    expect_masks(&problem, &selection, &expected);
    for (int32_t layout = SPEFT_LAYOUT_OUT_IN; layout <= SPEFT_LAYOUT_IN_OUT; ++layout) {
        speft_context *context = create_context();
        speft_adapter *adapter = start(context, &problem, &selection);
        for (int t = 0; t < TENSORS; ++t) {
            const speft_tensor *wide = MATRIX(x[t], float32, TOKENS, shapes[t][1]);
            const speft_tensor *tall = MATRIX(dy[t], float32, TOKENS, shapes[t][0]);
            const speft_gradient gradient = layout == SPEFT_LAYOUT_OUT_IN ? activations_gradient(wide, tall, layout)
                                                                          : activations_gradient(tall, wide, layout);
            CHECK_OK(speft_observe(adapter, t, &gradient, &error));
        }
        CHECK_OK(speft_finish_observation(adapter, 1, &error));
        CHECK_OK(speft_select(adapter, NULL, &error));
        read_masks(adapter, &actual);
        check_same_masks(&actual, &expected, "activations");
        speft_destroy_adapter(adapter);
        speft_destroy_context(context);
    }
}

static void test_methods_without_gradients_take_and_drop_them(void) {
    struct problem problem;
    make_problem(&problem);
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0, 21);
    struct masks expected, actual;
    expect_masks(&problem, &selection, &expected);
    speft_context *context = create_context();
    speft_adapter *adapter = start(context, &problem, &selection);
    observe(adapter, (const float(*)[SCALARS])problem.gradients);
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_OK(speft_select(adapter, NULL, &error));
    read_masks(adapter, &actual);
    check_same_masks(&actual, &expected, "magnitude with an observation");
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

/* ---- given masks ---- */

static void test_given_masks_are_taken_as_they_are(void) {
    struct problem problem;
    make_problem(&problem);
    static const struct masks given = {{3, 0, 2}, {{0, 17, 34}, {0}, {0, 2}}};
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    speft_context *context = create_context();
    speft_adapter *adapter = start(context, &problem, &selection);
    for (int t = 0; t < TENSORS; ++t) {
        int64_t copy[SCALARS];
        memcpy(copy, given.indices[t], sizeof copy);
        give_mask(adapter, t, copy, given.counts[t]);
        memset(copy, 0xff, sizeof copy);
    }
    CHECK_OK(speft_select(adapter, NULL, &error));
    struct masks actual;
    read_masks(adapter, &actual);
    check_same_masks(&actual, &given, "the masks that were given");
    CHECK_EQUAL(read_state(adapter).selected_scalars, 5);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_a_mask_may_be_given_again(void) {
    struct problem problem;
    make_problem(&problem);
    static const struct masks given = {{1, 1, 1}, {{5}, {6}, {1}}};
    const speft_selection_options selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    speft_context *context = create_context();
    speft_adapter *adapter = start(context, &problem, &selection);
    for (int t = 0; t < TENSORS; ++t) give_mask(adapter, t, (const int64_t[]){0, 1, 2}, 3);
    for (int t = 0; t < TENSORS; ++t) give_mask(adapter, t, given.indices[t], given.counts[t]);
    CHECK_OK(speft_select(adapter, NULL, &error));
    struct masks actual;
    read_masks(adapter, &actual);
    check_same_masks(&actual, &given, "the masks that were given last");
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

/* ---- random ---- */

static speft_selection_options choose_random(int32_t scope, double density, int64_t budget, uint64_t seed) {
    speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, scope, density, budget);
    selection.seed = seed;
    return selection;
}

static void check_well_formed(const struct masks *masks) {
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t j = 0; j < masks->counts[t]; ++j) {
            CHECK(masks->indices[t][j] >= 0 && masks->indices[t][j] < sizes[t]);
            CHECK(j == 0 || masks->indices[t][j - 1] < masks->indices[t][j]);
        }
}

static void test_random_masks_have_exact_sizes(void) {
    struct problem problem;
    make_problem(&problem);
    static const double densities[] = {1e-9, 0.1, 0.5, 1};
    for (int d = 0; d < COUNT_OF(densities); ++d) {
        struct masks masks;
        speft_selection_options selection = choose_random(SPEFT_SCOPE_GLOBAL, densities[d], 0, 1);
        select_masks(&problem, &selection, &masks);
        check_well_formed(&masks);
        CHECK_EQUAL(masks.counts[0] + masks.counts[1] + masks.counts[2], count_for(&selection, total));

        selection.scope = SPEFT_SCOPE_PER_TENSOR;
        select_masks(&problem, &selection, &masks);
        check_well_formed(&masks);
        for (int t = 0; t < TENSORS; ++t) CHECK_EQUAL(masks.counts[t], count_for(&selection, sizes[t]));
    }
}

/* Shares of 20 among 35, 60 and 3 of 98: 7.14, 12.24 and 0.61; the one that is left goes to the third. */
static void test_a_global_random_budget_goes_by_largest_remainder(void) {
    struct problem problem;
    make_problem(&problem);
    const speft_selection_options selection = choose_random(SPEFT_SCOPE_GLOBAL, 0, 20, 1);
    struct masks masks;
    select_masks(&problem, &selection, &masks);
    CHECK_EQUAL(masks.counts[0], 7);
    CHECK_EQUAL(masks.counts[1], 12);
    CHECK_EQUAL(masks.counts[2], 1);
}

static void test_random_masks_are_a_function_of_the_seed(void) {
    struct problem problem;
    make_problem(&problem);
    for (int32_t random = SPEFT_RANDOM_EXACT; random <= SPEFT_RANDOM_BERNOULLI; ++random) {
        struct masks first, again, other;
        speft_selection_options selection = choose_random(SPEFT_SCOPE_GLOBAL, 0.3, 0, 7);
        selection.random = random;
        select_masks(&problem, &selection, &first);
        select_masks(&problem, &selection, &again);
        check_same_masks(&again, &first, "the same seed");
        selection.seed = 8;
        select_masks(&problem, &selection, &other);
        CHECK(memcmp(&first, &other, sizeof first) != 0);
    }
}

/* The mask of one parameter of 60 scalars, alone in its adapter or after others. */
static int64_t random_mask_of(const char *name, int32_t random, int alone, int64_t mask[SCALARS]) {
    float weights[3][SCALARS] = {{0}};
    const speft_parameter parameters[] = {DECLARE_MATRIX(name, 6, 10), DECLARE_VECTOR("before", 60),
                                          DECLARE_MATRIX(name, 6, 10)};
    speft_selection_options selection = choose_random(SPEFT_SCOPE_PER_TENSOR, 0.3, 0, 7);
    selection.random = random;
    speft_context *context = create_context();
    speft_adapter *adapter = create_adapter(context, &selection, alone ? parameters : parameters + 1, alone ? 1 : 2);
    if (!alone) bind(adapter, 0, VECTOR(weights[1], float32, 60));
    bind(adapter, alone ? 0 : 1, MATRIX(weights[0], float32, 6, 10));
    CHECK_OK(speft_select(adapter, NULL, &error));
    const int64_t count = read_mask(adapter, alone ? 0 : 1, mask, SCALARS);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    return count;
}

static void test_random_masks_go_by_name_and_not_by_place(void) {
    for (int32_t random = SPEFT_RANDOM_EXACT; random <= SPEFT_RANDOM_BERNOULLI; ++random) {
        int64_t alone[SCALARS] = {0}, second[SCALARS] = {0}, other[SCALARS] = {0};
        const int64_t count = random_mask_of("layer.0", random, 1, alone);
        CHECK_EQUAL(random_mask_of("layer.0", random, 0, second), count);
        CHECK_BYTES(second, alone, sizeof alone);
        random_mask_of("layer.1", random, 1, other);
        CHECK(memcmp(other, alone, sizeof alone) != 0);
    }
}

/* Every scalar is as likely as any other: over 1,000 seeds each of 40 is chosen 300 times, give or take five standard
 * deviations of a binomial, 5·√(1000·0.3·0.7) = 72. The seeds are fixed, and so is the answer. */
static void test_random_masks_are_uniform(void) {
    enum { SIZE = 40, SEEDS = 1000 };
    float weights[SIZE] = {0};
    const speft_parameter parameter = DECLARE_VECTOR("w", SIZE);
    speft_context *context = create_context();
    for (int32_t random = SPEFT_RANDOM_EXACT; random <= SPEFT_RANDOM_BERNOULLI; ++random) {
        int64_t chosen[SIZE] = {0};
        for (uint64_t seed = 0; seed < SEEDS; ++seed) {
            speft_selection_options selection = choose_random(SPEFT_SCOPE_GLOBAL, 0.3, 0, seed);
            selection.random = random;
            speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
            bind(adapter, 0, VECTOR(weights, float32, SIZE));
            CHECK_OK(speft_select(adapter, NULL, &error));
            int64_t mask[SIZE];
            const int64_t count = read_mask(adapter, 0, mask, SIZE);
            if (random == SPEFT_RANDOM_EXACT) CHECK_EQUAL(count, 12);
            for (int64_t j = 0; j < count; ++j) chosen[mask[j]] += 1;
            speft_destroy_adapter(adapter);
        }
        for (int i = 0; i < SIZE; ++i) CHECK(chosen[i] >= 300 - 72 && chosen[i] <= 300 + 72);
    }
    speft_destroy_context(context);
}

/* ---- the same masks, however they are computed ---- */

static void select_large(int32_t threads, int32_t method, int64_t *mask, int64_t budget) {
    enum { SIZE = 200000 };
    static float weights[SIZE];
    fill(weights, SIZE, 3); /* some 257 values: the border of the mask runs through a tie */
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.backend = test_backend();
    options.threads = threads;
    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));
    const speft_selection_options selection = choose(method, SPEFT_SCOPE_GLOBAL, 0, budget);
    const speft_parameter parameter = DECLARE_VECTOR("w", SIZE);
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    bind(adapter, 0, VECTOR(weights, float32, SIZE));
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_mask(adapter, 0, mask, budget), budget);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_the_number_of_threads_does_not_show(void) {
    enum { BUDGET = 1234 };
    static const int32_t methods[] = {SPEFT_SELECT_MAGNITUDE, SPEFT_SELECT_RANDOM};
    for (int m = 0; m < COUNT_OF(methods); ++m) {
        int64_t one[BUDGET], several[BUDGET];
        select_large(1, methods[m], one, BUDGET);
        for (int32_t threads = 2; threads <= 5; ++threads) {
            select_large(threads, methods[m], several, BUDGET);
            CHECK_BYTES(several, one, sizeof one);
        }
    }
}

int main(void) {
    RUN(test_the_largest_scores_win);
    RUN(test_a_density_means_the_count_it_was_written_for);
    RUN(test_ties_go_to_the_smaller_tensor_then_index);
    RUN(test_nan_is_never_selected_and_infinity_is);
    RUN(test_denormals_rank);
    RUN(test_observations_are_averaged_by_weight);
    RUN(test_one_batch_may_arrive_in_parts);
    RUN(test_activations_choose_what_their_product_chooses);
    RUN(test_methods_without_gradients_take_and_drop_them);
    RUN(test_given_masks_are_taken_as_they_are);
    RUN(test_a_mask_may_be_given_again);
    RUN(test_random_masks_have_exact_sizes);
    RUN(test_a_global_random_budget_goes_by_largest_remainder);
    RUN(test_random_masks_are_a_function_of_the_seed);
    RUN(test_random_masks_go_by_name_and_not_by_place);
    RUN(test_random_masks_are_uniform);
    RUN(test_the_number_of_threads_does_not_show);
    return check_result();
}
