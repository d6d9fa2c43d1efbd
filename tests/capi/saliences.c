/* Each salience against its formula, ranked by brute force: what is observed, dense or from activations, batches of
 * different weight, references, functions of the host's, and what is refused. */
#include "host.h"
#include "numbers.h"

enum { TENSORS = 2, SCALARS = 60, TOKENS = 9, BATCHES = 2, BUDGET = 17 };

static const int64_t shapes[TENSORS][2] = {{5, 7}, {6, 10}};
static const int64_t sizes[TENSORS] = {35, 60};
static const int64_t examples[] = {0, 2, 2, 7, 9}; /* one of them has no token */
enum { EXAMPLES = 4 };

struct problem {
    float weights[TENSORS][SCALARS], references[TENSORS][SCALARS];
    float x[BATCHES][TENSORS][TOKENS * 10], dy[BATCHES][TENSORS][TOKENS * 6];
};

static struct problem make_problem(void) {
    struct problem problem;
    memset(&problem, 0, sizeof problem);
    for (uint32_t t = 0; t < TENSORS; ++t) {
        fill(problem.weights[t], sizes[t], t + 1);
        fill(problem.references[t], sizes[t], t + 3);
        for (uint32_t b = 0; b < BATCHES; ++b) {
            fill(problem.x[b][t], TOKENS * shapes[t][1], 10 * b + t + 5);
            fill(problem.dy[b][t], TOKENS * shapes[t][0], 10 * b + t + 7);
        }
    }
    return problem;
}

/* Weights of the batches. */
static const double batch_weights[BATCHES] = {1, 3};

/* dW of tokens [begin, end) of a batch: exact in float32, whatever the order. */
static double gradient_of(const struct problem *problem, int batch, int tensor, int64_t index, int64_t begin,
                          int64_t end) {
    const int64_t in = shapes[tensor][1], out = shapes[tensor][0];
    double sum = 0;
    for (int64_t token = begin; token < end; ++token)
        sum += (double)problem->dy[batch][tensor][token * out + index / in] *
               problem->x[batch][tensor][token * in + index % in];
    return sum;
}

static double mean_gradient(const struct problem *problem, int tensor, int64_t index, int absolute) {
    double sum = 0;
    for (int b = 0; b < BATCHES; ++b) {
        const double g = gradient_of(problem, b, tensor, index, 0, TOKENS);
        sum += batch_weights[b] * (absolute ? fabs(g) : g);
    }
    return (float)sum / 4.0f; /* a power of two: exact */
}

static double squared_gradient(const struct problem *problem, int tensor, int64_t index, int by_example) {
    double sum = 0;
    for (int b = 0; b < BATCHES; ++b) {
        double squares = 0;
        for (int e = 0; e < (by_example ? EXAMPLES : 1); ++e) {
            const double g = by_example ? gradient_of(problem, b, tensor, index, examples[e], examples[e + 1])
                                        : gradient_of(problem, b, tensor, index, 0, TOKENS);
            squares += g * g;
        }
        sum += batch_weights[b] * squares / (by_example ? EXAMPLES : 1);
    }
    return sum;
}

static double column_norm(const struct problem *problem, int tensor, int64_t column) {
    double sum = 0;
    for (int b = 0; b < BATCHES; ++b)
        for (int64_t token = 0; token < TOKENS; ++token) {
            const double x = problem->x[b][tensor][token * shapes[tensor][1] + column];
            sum += batch_weights[b] * x * x;
        }
    return sqrt(sum);
}

struct wanted {
    int32_t method, mean;
    int by_example;
};

static double score_of(const struct problem *problem, struct wanted wanted, int tensor, int64_t index) {
    const double theta = problem->weights[tensor][index];
    const double g = mean_gradient(problem, tensor, index, wanted.mean == SPEFT_MEAN_OF_ABSOLUTES);
    switch (wanted.method) {
    case SPEFT_SELECT_GRADIENT: return fabs(g);
    case SPEFT_SELECT_SNIP:
    case SPEFT_SELECT_TAYLOR_FO:
    case SPEFT_SELECT_SYNFLOW: return fabsf((float)(g * theta));
    case SPEFT_SELECT_FORCE:
    case SPEFT_SELECT_GRASP: return -(float)(g * theta);
    case SPEFT_SELECT_GRASP_CODE: return (float)(g * theta);
    case SPEFT_SELECT_FISHER: return squared_gradient(problem, tensor, index, wanted.by_example);
    case SPEFT_SELECT_WEIGHT_CHANGE: return fabsf((float)(theta - problem->references[tensor][index]));
    case SPEFT_SELECT_WANDA: return fabs(theta) * column_norm(problem, tensor, index % shapes[tensor][1]);
    case SPEFT_SELECT_SMALLEST_MAGNITUDE: return -fabs(theta);
    case SPEFT_SELECT_SCORE_FUNCTION: return (float)(g - theta);
    default: abort();
    }
}

static int32_t subtract_weights(void *user, int64_t parameter, const speft_tensor *weights,
                                const speft_tensor *gradient, const speft_tensor *scores) {
    int64_t *const calls = user;
    CHECK_EQUAL(parameter, *calls);
    ++*calls;
    for (int64_t i = 0; i < sizes[parameter]; ++i)
        ((float *)scores->data)[i] = ((const float *)gradient->data)[i] - ((const float *)weights->data)[i];
    return 0;
}

static speft_adapter *start(speft_context *context, struct problem *problem,
                            const speft_selection_options *selection) {
    const speft_parameter parameters[TENSORS] = {declare("a", 2, shapes[0]), declare("b", 2, shapes[1])};
    speft_adapter *const adapter = create_adapter(context, selection, parameters, TENSORS);
    for (int t = 0; t < TENSORS; ++t)
        bind(adapter, t, MATRIX(problem->weights[t], float32, shapes[t][0], shapes[t][1]));
    return adapter;
}

static speft_status observe_one(speft_adapter *adapter, struct problem *problem, int batch, int tensor,
                                int by_example, int has_dy) {
    speft_gradient gradient =
        activations_gradient(MATRIX(problem->x[batch][tensor], float32, TOKENS, shapes[tensor][1]),
                             MATRIX(problem->dy[batch][tensor], float32, TOKENS, shapes[tensor][0]),
                             SPEFT_LAYOUT_OUT_IN);
    if (!has_dy) gradient.dy = NULL;
    const speft_tensor *const offsets = VECTOR(examples, int64, EXAMPLES + 1);
    if (by_example) gradient.example_offsets = offsets;
    return speft_observe(adapter, tensor, &gradient, &error);
}

static void observe_all(speft_adapter *adapter, struct problem *problem, struct wanted wanted, int announced) {
    for (int b = 0; b < BATCHES; ++b) {
        if (announced) CHECK_OK(speft_begin_observation(adapter, batch_weights[b], &error));
        for (int t = 0; t < TENSORS; ++t)
            CHECK_OK(observe_one(adapter, problem, b, t, wanted.by_example, wanted.method != SPEFT_SELECT_WANDA));
        CHECK_OK(speft_finish_observation(adapter, announced ? 0 : batch_weights[b], &error));
    }
}

/* The selected are the best: none of the others has a larger score, nor an equal one and an earlier place. Products are
 * rounded once here and there; sums of squares round a dozen times, each by 2^-24 at most, so that Fisher's and Wanda's
 * scores may change places where they are within 1e-6 of each other. */
static void check_best(speft_adapter *adapter, const struct problem *problem, struct wanted wanted) {
    const int rounded = wanted.method == SPEFT_SELECT_WANDA || wanted.method == SPEFT_SELECT_FISHER;
    const double slack = rounded ? 1e-6 : 0;
    int64_t indices[TENSORS][SCALARS], counts[TENSORS];
    char selected[TENSORS][SCALARS] = {{0}};
    for (int t = 0; t < TENSORS; ++t) {
        counts[t] = read_mask(adapter, t, indices[t], SCALARS);
        for (int64_t i = 0; i < counts[t]; ++i) selected[t][indices[t][i]] = 1;
    }
    CHECK_EQUAL(counts[0] + counts[1], BUDGET);
    double worst = INFINITY;
    int64_t last = -1;
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i) {
            if (!selected[t][i]) continue;
            const double score = score_of(problem, wanted, t, i);
            if (score <= worst) {
                worst = score;
                last = t * SCALARS + i;
            }
        }
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i) {
            if (selected[t][i]) continue;
            const double score = score_of(problem, wanted, t, i);
            CHECK(score <= worst * (1 + slack));
            CHECK(slack > 0 || score < worst || t * SCALARS + i > last);
        }
}

static void test_every_salience(void) {
    speft_context *context = create_context();
    static const struct wanted all[] = {
        {SPEFT_SELECT_GRADIENT, SPEFT_MEAN_SIGNED, 0}, {SPEFT_SELECT_GRADIENT, SPEFT_MEAN_OF_ABSOLUTES, 0},
        {SPEFT_SELECT_SNIP, SPEFT_MEAN_OF_ABSOLUTES, 0}, {SPEFT_SELECT_FORCE, 0, 0},
        {SPEFT_SELECT_TAYLOR_FO, 0, 0}, {SPEFT_SELECT_FISHER, 0, 0}, {SPEFT_SELECT_FISHER, 0, 1},
        {SPEFT_SELECT_SYNFLOW, 0, 0}, {SPEFT_SELECT_GRASP, 0, 0}, {SPEFT_SELECT_GRASP_CODE, 0, 0},
        {SPEFT_SELECT_WEIGHT_CHANGE, 0, 0}, {SPEFT_SELECT_WANDA, 0, 0}, {SPEFT_SELECT_SMALLEST_MAGNITUDE, 0, 0},
        {SPEFT_SELECT_SCORE_FUNCTION, 0, 0},
    };
    for (int at = 0; at < (int)(sizeof all / sizeof *all); ++at)
        for (int announced = 0; announced < 2; ++announced) {
            struct problem problem = make_problem();
            const struct problem before = problem;
            speft_selection_options selection = choose(all[at].method, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
            selection.mean = all[at].mean;
            int64_t calls = 0;
            const speft_score_function function = {sizeof function, 0, subtract_weights, &calls};
            if (all[at].method == SPEFT_SELECT_SCORE_FUNCTION) selection.score = &function;
            speft_adapter *adapter = start(context, &problem, &selection);
            if (all[at].method == SPEFT_SELECT_WEIGHT_CHANGE)
                for (int t = 0; t < TENSORS; ++t)
                    CHECK_OK(speft_set_reference(
                        adapter, t, MATRIX(problem.references[t], float32, shapes[t][0], shapes[t][1]), &error));
            observe_all(adapter, &problem, all[at], announced);
            CHECK_OK(speft_select(adapter, NULL, &error));
            check_best(adapter, &before, all[at]);
            CHECK_EQUAL(calls, all[at].method == SPEFT_SELECT_SCORE_FUNCTION ? TENSORS : 0);
            /* LT-SFT rewinds; no other selection changes a weight. */
            const int rewinds = all[at].method == SPEFT_SELECT_WEIGHT_CHANGE;
            CHECK_BYTES(problem.weights, rewinds ? before.references : before.weights, sizeof problem.weights);
            speft_destroy_adapter(adapter);
        }
    speft_destroy_context(context);
}

/* u vᵀ plus noise far below: the best approximation of rank 1 is u vᵀ, up to the noise, and its largest entries are
 * those of the largest |u| and |v|. */
static void test_low_rank(void) {
    speft_context *context = create_context();
    struct problem problem = make_problem();
    for (int t = 0; t < TENSORS; ++t)
        for (int64_t i = 0; i < sizes[t]; ++i) {
            const int64_t row = i / shapes[t][1], column = i % shapes[t][1];
            const double u = 1 + (double)(row * row), v = 1 + 0.01 * (double)(column * column);
            problem.weights[t][i] = (float)(u * v + 1e-4 * problem.references[t][i]);
        }
    speft_selection_options selection = choose(SPEFT_SELECT_LOW_RANK, SPEFT_SCOPE_PER_TENSOR, 0, 3);
    selection.approximation_rank = 1;
    speft_adapter *adapter = start(context, &problem, &selection);
    CHECK_OK(speft_select(adapter, NULL, &error));
    for (int t = 0; t < TENSORS; ++t) {
        int64_t indices[SCALARS];
        CHECK_EQUAL(read_mask(adapter, t, indices, SCALARS), 3);
        for (int i = 0; i < 3; ++i) CHECK_EQUAL(indices[i], sizes[t] - 3 + i); /* last row, last columns */
    }
    speft_destroy_adapter(adapter);

    problem.weights[1][7] = NAN;
    adapter = start(context, &problem, &selection);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'b'", speft_select(adapter, NULL, &error));
    speft_destroy_adapter(adapter);

    const speft_parameter flat = DECLARE_VECTOR("flat", 5);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'flat' has fewer than 2 axes",
                try_to_create(context, &selection, NULL, &flat, 1, &adapter));
    speft_destroy_context(context);
}

static int32_t give_up(void *user, int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                       const speft_tensor *scores) {
    (void)parameter, (void)weights, (void)scores;
    CHECK(gradient == NULL); /* nothing was observed */
    ++*(int *)user;
    return 1;
}

static void test_what_is_refused(void) {
    speft_context *context = create_context();
    struct problem problem = make_problem();
    const speft_parameter parameters[TENSORS] = {declare("a", 2, shapes[0]), declare("b", 2, shapes[1])};
    speft_adapter *adapter = NULL;

    speft_selection_options selection = choose(SPEFT_SELECT_FORCE, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    adapter = start(context, &problem, &selection);
    CHECK_FAILS(SPEFT_INVALID_STATE, "force", speft_select(adapter, NULL, &error)); /* estimation without a batch */
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "fisher", observe_one(adapter, &problem, 0, 0, 1, 1));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "dy", observe_one(adapter, &problem, 0, 0, 0, 0));
    CHECK_FAILS(SPEFT_INVALID_STATE, "weight-change",
                speft_set_reference(adapter, 0, MATRIX(problem.references[0], float32, 5, 7), &error));
    speft_destroy_adapter(adapter);

    selection.mean = SPEFT_MEAN_OF_ABSOLUTES;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "force",
                try_to_create(context, &selection, NULL, parameters, TENSORS, &adapter));
    selection.mean = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "mean",
                try_to_create(context, &selection, NULL, parameters, TENSORS, &adapter));
    selection.mean = 0;
    selection.approximation_rank = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "approximation_rank",
                try_to_create(context, &selection, NULL, parameters, TENSORS, &adapter));
    selection.approximation_rank = 0;
    int calls = 0;
    const speft_score_function function = {sizeof function, 0, give_up, &calls};
    selection.score = &function;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "score",
                try_to_create(context, &selection, NULL, parameters, TENSORS, &adapter));

    selection.method = SPEFT_SELECT_SCORE_FUNCTION;
    adapter = start(context, &problem, &selection);
    CHECK_FAILS(SPEFT_CANCELLED, "score function", speft_select(adapter, NULL, &error));
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(read_state(adapter).selected, 0);
    speft_destroy_adapter(adapter);
    selection.score = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "NULL",
                try_to_create(context, &selection, NULL, parameters, TENSORS, &adapter));

    selection.method = SPEFT_SELECT_WEIGHT_CHANGE;
    adapter = start(context, &problem, &selection);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "shape",
                speft_set_reference(adapter, 0, MATRIX(problem.references[0], float32, 7, 5), &error));
    CHECK_OK(speft_set_reference(adapter, 0, MATRIX(problem.references[0], float32, 5, 7), &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'b'", speft_select(adapter, NULL, &error));
    speft_destroy_adapter(adapter);

    selection.method = SPEFT_SELECT_WANDA;
    adapter = start(context, &problem, &selection);
    const speft_gradient dense = dense_gradient(MATRIX(problem.weights[0], float32, 5, 7));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "ACTIVATIONS", speft_observe(adapter, 0, &dense, &error));
    speft_destroy_adapter(adapter);

    selection.method = SPEFT_SELECT_FISHER;
    adapter = start(context, &problem, &selection);
    static const int64_t bad[][3] = {{0, 9, 8}, {1, 4, 9}, {0, 4, 8}, {0, 12, 9}};
    for (int at = 0; at < 4; ++at) {
        speft_gradient gradient = activations_gradient(MATRIX(problem.x[0][0], float32, TOKENS, 7),
                                                       MATRIX(problem.dy[0][0], float32, TOKENS, 5),
                                                       SPEFT_LAYOUT_OUT_IN);
        gradient.example_offsets = VECTOR(bad[at], int64, 3);
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "example_offsets", speft_observe(adapter, 0, &gradient, &error));
    }
    CHECK_OK(observe_one(adapter, &problem, 0, 0, 1, 1));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "example_offsets", observe_one(adapter, &problem, 0, 0, 0, 1));
    CHECK_OK(observe_one(adapter, &problem, 0, 1, 1, 1));
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_OK(speft_select(adapter, NULL, &error));
    speft_gradient gradient =
        activations_gradient(MATRIX(problem.x[0][0], float32, TOKENS, 7),
                             MATRIX(problem.dy[0][0], float32, TOKENS, 5), SPEFT_LAYOUT_OUT_IN);
    gradient.example_offsets = VECTOR(examples, int64, EXAMPLES + 1);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "example_offsets", speft_accumulate(adapter, 0, &gradient, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_every_salience);
    RUN(test_low_rank);
    RUN(test_what_is_refused);
    return check_result();
}
