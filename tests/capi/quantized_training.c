/* Adapters on quantized weights. The truth is a twin on the same values as dense float32 weights, given the same
 * gradients: all that is learned must be the same to the bit. The layer and the merge are compared with float64. */
#include "numbers.h"
#include "quantized.h"

enum { TOKENS = 6, BUDGET = 20, STEPS = 13, OTHER_ROWS = 6, OTHER_COLUMNS = 11, OTHER = OTHER_ROWS * OTHER_COLUMNS };
enum { QUANTIZED, DENSE, TWINS };

/* A quantized layer, and one with dense weights that is trained in the same adapter. */
struct twins {
    speft_context *context;
    speft_adapter *adapters[TWINS];
    struct quantized quantized, before;
    float weights[SCALARS], originals[SCALARS]; /* of the twin */
    float other[TWINS][OTHER];
    float x[TOKENS * COLUMNS], dy[TOKENS * COLUMNS];
};

struct way {
    const char *name;
    int32_t method, scope, optimizer, delta_type, decay;
    int64_t every, window;
    double rate; /* 0: 0.02 */
};

static const struct way ways[] = {
    {"random", SPEFT_SELECT_RANDOM, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAMW, 0, SPEFT_DECAY_TO_ORIGINAL, 0, 0, 0},
    {"magnitude", SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAM, 0,
     SPEFT_DECAY_TO_ZERO, 0, 0, 0},
    {"magnitude, bfloat16", SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, SPEFT_DELTA_BFLOAT16,
     SPEFT_DECAY_TO_ORIGINAL, 0, 0, 0},
    {"moving magnitude", SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_SGD, 0, SPEFT_DECAY_TO_ZERO, 4,
     0, 0},
    {"moving magnitude, bfloat16", SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW,
     SPEFT_DELTA_BFLOAT16, SPEFT_DECAY_TO_ZERO, 4, 0, 0},
    {"snip", SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_LION, 0, SPEFT_DECAY_TO_ZERO, 0, 0, 0},
    {"moving force", SPEFT_SELECT_FORCE, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAMW, 0, SPEFT_DECAY_AFTER_UPDATE, 4,
     0, 0},
    {"wanda", SPEFT_SELECT_WANDA, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAFACTOR, 0, SPEFT_DECAY_TO_ZERO, 0, 0, 0},
    {"low-rank", SPEFT_SELECT_LOW_RANK, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, 0, SPEFT_DECAY_TO_ORIGINAL, 0, 0, 0},
    {"spiel-ag", SPEFT_SELECT_SPIEL_AG, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAMW, 0, SPEFT_DECAY_AFTER_UPDATE, 4,
     2, 0},
    {"spiel-ma", SPEFT_SELECT_SPIEL_MA, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_SM3, 0, SPEFT_DECAY_TO_ZERO, 4, 0, 0},
    {"meprop", SPEFT_SELECT_MEPROP, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, 0, SPEFT_DECAY_TO_ZERO, 0, 0, 0},
};

static speft_adapter *create(struct twins *twins, const struct way *way) {
    const speft_parameter parameters[] = {DECLARE_MATRIX("layer", ROWS, COLUMNS),
                                          DECLARE_MATRIX("other", OTHER_ROWS, OTHER_COLUMNS)};
    const speft_parameter *const pointers[] = {&parameters[0], &parameters[1]};
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.reselect_every = way->every;
    schedule.window = way->window;
    const int64_t budget = way->method == SPEFT_SELECT_GIVEN_MASK ? 0 : BUDGET;
    speft_selection_options selection = choose(way->method, way->scope, 0, budget);
    if (way->every) selection.schedule = &schedule;
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = way->optimizer;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    options.optimizer = &optimizer;
    options.delta_type = way->delta_type;
    speft_adapter *adapter = NULL;
    CHECK_OK(speft_create_adapter(twins->context, &options, pointers, 2, &adapter, &error));
    return adapter;
}

static void bind_twin(struct twins *twins, int twin, speft_adapter *adapter) {
    if (twin == DENSE)
        bind(adapter, 0, MATRIX(twins->weights, float32, ROWS, COLUMNS));
    else
        CHECK_OK(speft_bind_weights(adapter, 0, &twins->quantized.weights, &error));
    bind(adapter, 1, MATRIX(twins->other[twin], float32, OTHER_ROWS, OTHER_COLUMNS));
}

static void start(struct twins *twins, const struct way *way, int32_t kind, int twice) {
    memset(twins, 0, sizeof *twins);
    twins->context = create_context();
    start_quantized(&twins->quantized, kind, twice);
    const speft_tensor weights = view(twins->weights, float32, 2, matrix);
    fill(twins->weights, SCALARS, 1);
    for (int i = 0; i < BLOCK; ++i) twins->weights[BLOCK + i] /= 16; /* absmax that differ */
    CHECK_OK(speft_quantize(twins->context, &weights, &twins->quantized.weights, &error));
    CHECK_OK(speft_dequantize(twins->context, &twins->quantized.weights, &weights, &error));
    twins->before = twins->quantized;
    memcpy(twins->originals, twins->weights, sizeof twins->weights);
    fill(twins->other[0], OTHER, 2);
    memcpy(twins->other[1], twins->other[0], sizeof twins->other[0]);
    for (int twin = 0; twin < TWINS; ++twin) bind_twin(twins, twin, twins->adapters[twin] = create(twins, way));
}

static void end(struct twins *twins) {
    for (int twin = 0; twin < TWINS; ++twin) speft_destroy_adapter(twins->adapters[twin]);
    speft_destroy_context(twins->context);
}

static void give(struct twins *twins, uint32_t seed,
                 speft_status (*take)(speft_adapter *, int64_t, const speft_gradient *, speft_error **)) {
    const int64_t shapes[][2] = {{ROWS, COLUMNS}, {OTHER_ROWS, OTHER_COLUMNS}};
    for (int64_t parameter = 0; parameter < 2; ++parameter) {
        fill(twins->x, TOKENS * shapes[parameter][1], 10 * seed + (uint32_t)parameter + 3);
        fill(twins->dy, TOKENS * shapes[parameter][0], 10 * seed + (uint32_t)parameter + 7);
        const speft_gradient gradient =
            activations_gradient(MATRIX(twins->x, float32, TOKENS, shapes[parameter][1]),
                                 MATRIX(twins->dy, float32, TOKENS, shapes[parameter][0]), SPEFT_LAYOUT_OUT_IN);
        for (int twin = 0; twin < TWINS; ++twin)
            CHECK_OK(take(twins->adapters[twin], parameter, &gradient, &error));
    }
}

static int observes(int32_t method) {
    return method == SPEFT_SELECT_SNIP || method == SPEFT_SELECT_FORCE || method == SPEFT_SELECT_WANDA;
}

static void observe(struct twins *twins, uint32_t seed) {
    give(twins, seed, speft_observe);
    for (int twin = 0; twin < TWINS; ++twin) CHECK_OK(speft_finish_observation(twins->adapters[twin], 1, &error));
}

static void train(struct twins *twins, const struct way *way, int steps) {
    speft_hyperparameters rates;
    speft_hyperparameters_init(&rates, sizeof rates);
    rates.decay = way->decay;
    rates.learning_rate = way->rate > 0 ? way->rate : 0.02;
    rates.weight_decay = 0.1;
    const speft_hyperparameters *const groups[] = {&rates};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    for (int step = 0; step < steps; ++step) {
        if (observes(way->method) && read_state(twins->adapters[0]).reselection_due)
            observe(twins, 500 + (uint32_t)step);
        for (int twin = 0; twin < TWINS && way->method != SPEFT_SELECT_MEPROP; ++twin)
            CHECK_OK(speft_reselect(twins->adapters[twin], NULL, NULL, &error));
        give(twins, 100 + (uint32_t)step, speft_accumulate);
        for (int twin = 0; twin < TWINS; ++twin) {
            if (way->method == SPEFT_SELECT_MEPROP)
                CHECK_OK(speft_reselect(twins->adapters[twin], NULL, NULL, &error));
            CHECK_OK(speft_step(twins->adapters[twin], &options, &error));
        }
    }
}

static void prepare(struct twins *twins, const struct way *way) {
    if (observes(way->method)) observe(twins, 40);
    for (int twin = 0; twin < TWINS; ++twin) CHECK_OK(speft_select(twins->adapters[twin], NULL, &error));
}

/* Masks, deltas, counts and the other layer. */
static void check_alike(struct twins *twins) {
    for (int64_t parameter = 0; parameter < 2; ++parameter) {
        int64_t masks[TWINS][SCALARS];
        speft_tensor deltas[TWINS];
        int64_t count = 0;
        for (int twin = 0; twin < TWINS; ++twin) {
            count = read_mask(twins->adapters[twin], parameter, masks[twin], SCALARS);
            CHECK_OK(speft_get_deltas(twins->adapters[twin], parameter, &deltas[twin], &error));
            CHECK_EQUAL(deltas[twin].shape[0], count);
        }
        CHECK_EQUAL(deltas[0].shape[0], deltas[1].shape[0]);
        if (count == 0) continue; /* masks of steps are empty at first, and have no memory */
        CHECK_BYTES(masks[0], masks[1], (size_t)count * sizeof **masks);
        CHECK_BYTES(deltas[0].data, deltas[1].data, (size_t)(count * deltas[0].dtype.bits / 8));
    }
    const speft_adapter_state state = read_state(twins->adapters[0]), other = read_state(twins->adapters[1]);
    CHECK_EQUAL(state.selected_scalars, other.selected_scalars);
    CHECK_EQUAL(state.settled_scalars, other.settled_scalars);
    CHECK_BYTES(twins->other[0], twins->other[1], sizeof twins->other[0]);
    CHECK_BYTES(&twins->quantized, &twins->before, sizeof twins->before);
}

/* y = x Wᵀ or dx = dy W, of the twin's weights; then plus what was there. */
static void check_product(struct twins *twins, int backward, int accumulate) {
    const int64_t from = backward ? ROWS : COLUMNS, to = backward ? COLUMNS : ROWS;
    float outputs[TOKENS * COLUMNS], before[TOKENS * COLUMNS];
    fill(twins->x, TOKENS * from, 77);
    fill(before, TOKENS * to, 78);
    memcpy(outputs, before, sizeof outputs);
    speft_linear_options options;
    speft_linear_options_init(&options, sizeof options);
    options.accumulate = accumulate;
    const speft_tensor *const inputs = MATRIX(twins->x, float32, TOKENS, from);
    const speft_tensor *const target = MATRIX(outputs, float32, TOKENS, to);
    if (backward)
        CHECK_OK(speft_linear_backward(twins->adapters[QUANTIZED], 0, &options, inputs, target, &error));
    else
        CHECK_OK(speft_linear_forward(twins->adapters[QUANTIZED], 0, &options, inputs, target, &error));
    for (int64_t token = 0; token < TOKENS; ++token)
        for (int64_t column = 0; column < to; ++column) {
            double sum = accumulate ? before[token * to + column] : 0, size = fabs(sum);
            for (int64_t term = 0; term < from; ++term) {
                const double product = (double)twins->x[token * from + term] *
                                       twins->weights[backward ? term * COLUMNS + column : column * COLUMNS + term];
                sum += product;
                size += fabs(product);
            }
            /* A rounding for each term, and a few for what is settled and for what was there. */
            CHECK(fabs(outputs[token * to + column] - sum) <= (double)(from + 4) * 0x1p-24 * size);
        }
}

static void check_products(struct twins *twins) {
    for (int way = 0; way < 4; ++way) check_product(twins, way & 1, way >> 1);
}

static void test_training_is_the_dense_twins(void) {
    for (int at = 0; at < COUNT_OF(ways); ++at)
        for (int32_t kind = SPEFT_WEIGHTS_NF4; kind <= SPEFT_WEIGHTS_INT8; kind += 2) {
            const struct way *const way = &ways[at];
            const int failures = atomic_load(&check_failures);
            struct twins twins;
            start(&twins, way, kind, kind == SPEFT_WEIGHTS_NF4 && at % 2);
            prepare(&twins, way);
            check_alike(&twins);
            train(&twins, way, STEPS);
            check_alike(&twins);
            if (way->delta_type == 0) check_products(&twins); /* the twin's float32 weights are W + Δ */
            if (way->every && way->method == SPEFT_SELECT_MAGNITUDE)
                CHECK(read_state(twins.adapters[QUANTIZED]).settled_scalars > 0);
            end(&twins);
            if (atomic_load(&check_failures) > failures) fprintf(stderr, "    with %s\n", way->name);
        }
}

/* ---- several adapters over one base ---- */

enum { SERVED = 3, NO_ADAPTER = -1 };

/* Another adapter on the twins' quantized layer, with a step behind it that moves its deltas by about `rate`. */
static speft_adapter *train_another(struct twins *twins, int32_t method, double rate, float *other) {
    struct way way = ways[0];
    way.method = method;
    speft_adapter *const adapter = create(twins, &way);
    CHECK_OK(speft_bind_weights(adapter, 0, &twins->quantized.weights, &error));
    fill(other, OTHER, 2);
    bind(adapter, 1, MATRIX(other, float32, OTHER_ROWS, OTHER_COLUMNS));
    CHECK_OK(speft_select(adapter, NULL, &error));
    float gradient[SCALARS];
    fill(gradient, SCALARS, 31);
    accumulate_dense(adapter, 0, MATRIX(gradient, float32, ROWS, COLUMNS));
    accumulate_dense(adapter, 1, MATRIX(gradient, float32, OTHER_ROWS, OTHER_COLUMNS));
    speft_hyperparameters rates;
    speft_hyperparameters_init(&rates, sizeof rates);
    rates.learning_rate = rate;
    const speft_hyperparameters *const groups[] = {&rates};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    CHECK_OK(speft_step(adapter, &options, &error));
    return adapter;
}

/* W + Δ of the adapter, or W. */
static void effective_weight(const struct twins *twins, speft_adapter *adapter, int delta_only, double *weight) {
    for (int i = 0; i < SCALARS; ++i) weight[i] = delta_only ? 0 : twins->originals[i];
    if (!adapter) return;
    int64_t mask[SCALARS];
    const int64_t count = read_mask(adapter, 0, mask, SCALARS);
    for (int64_t j = 0; j < count; ++j) weight[mask[j]] += lend_deltas(adapter, 0)[j];
}

static void test_rows_of_different_adapters(void) {
    struct twins twins;
    start(&twins, &ways[0], SPEFT_WEIGHTS_NF4, 1);
    float others[SERVED][OTHER];
    speft_adapter *const adapters[SERVED] = {train_another(&twins, SPEFT_SELECT_MAGNITUDE, 0.3, others[0]),
                                             train_another(&twins, SPEFT_SELECT_RANDOM, 0.5, others[1]),
                                             train_another(&twins, SPEFT_SELECT_SMALLEST_MAGNITUDE, 0.7, others[2])};
    const int64_t parameters[SERVED] = {0, 0, 0};
    const int64_t batches[][TOKENS] = {
        {2, NO_ADAPTER, 0, 2, 1, 0}, {0, 0, 0, 0, 0, 0}, {-1, -1, -1, -1, -1, -1}, {-1, 0, 0, 1, 2, 2}};
    fill(twins.x, TOKENS * COLUMNS, 5);
    const speft_tensor *const x = MATRIX(twins.x, float32, TOKENS, COLUMNS);
    float y[TOKENS * ROWS], before[TOKENS * ROWS];
    const speft_tensor *const target = MATRIX(y, float32, TOKENS, ROWS);
    fill(before, TOKENS * ROWS, 6);
    for (int batch = 0; batch < COUNT_OF(batches); ++batch)
        for (int way = 0; way < 4; ++way) {
            speft_linear_options options;
            speft_linear_options_init(&options, sizeof options);
            options.delta_only = way & 1;
            options.accumulate = way >> 1;
            memcpy(y, before, sizeof y);
            CHECK_OK(speft_linear_forward_each(adapters, parameters, SERVED, &options, x,
                                               VECTOR(batches[batch], int64, TOKENS), target, &error));
            for (int64_t token = 0; token < TOKENS; ++token) {
                const int64_t chosen = batches[batch][token];
                double weight[SCALARS];
                effective_weight(&twins, chosen < 0 ? NULL : adapters[chosen], options.delta_only, weight);
                for (int64_t row = 0; row < ROWS; ++row) {
                    double sum = options.accumulate ? before[token * ROWS + row] : 0, size = fabs(sum);
                    for (int64_t column = 0; column < COLUMNS; ++column) {
                        const double product = twins.x[token * COLUMNS + column] * weight[row * COLUMNS + column];
                        sum += product;
                        size += fabs(product);
                    }
                    /* As in check_product; where W and Δ cancel, their products have been rounded apart. */
                    CHECK(fabs(y[token * ROWS + row] - sum) <= (COLUMNS + 4) * 0x1p-24 * (size + 4));
                }
            }
        }

    const int64_t *const mixed = batches[0];
    const speft_tensor *const choice = VECTOR(mixed, int64, TOKENS);
    memcpy(y, before, sizeof y);
    const int32_t invalid = SPEFT_INVALID_ARGUMENT;
#define EACH(adapters, parameters, count, choice) \
    speft_linear_forward_each(adapters, parameters, count, NULL, x, choice, target, &error)
    CHECK_FAILS(invalid, "count must be 1", EACH(adapters, parameters, 0, choice));
    CHECK_FAILS(invalid, "adapters", EACH(NULL, parameters, SERVED, choice));
    CHECK_FAILS(invalid, "parameters", EACH(adapters, NULL, SERVED, choice));
    CHECK_FAILS(invalid, "adapters", EACH(((speft_adapter *[]){adapters[0], NULL}), parameters, 2, choice));
    CHECK_FAILS(invalid, "choice", EACH(adapters, parameters, SERVED, NULL));
    CHECK_FAILS(invalid, "choice must have 6", EACH(adapters, parameters, SERVED, VECTOR(mixed, int64, 5)));
    CHECK_FAILS(invalid, "between -1 and 1; got 2 for row 0", EACH(adapters, parameters, 2, choice));
    CHECK_FAILS(invalid, "parameter must be between", EACH(adapters, ((int64_t[]){0, 2, 0}), SERVED, choice));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'other' is in the weights",
                EACH(adapters, ((int64_t[]){0, 1, 0}), SERVED, choice));
    CHECK_FAILS(SPEFT_INVALID_STATE, "nothing is selected",
                EACH(((speft_adapter *[]){adapters[0], twins.adapters[QUANTIZED]}), parameters, 2, choice));
    struct twins strangers;
    start(&strangers, &ways[0], SPEFT_WEIGHTS_NF4, 1);
    prepare(&strangers, &ways[0]);
    CHECK_FAILS(invalid, "adapter 1 is of another",
                EACH(((speft_adapter *[]){adapters[0], strangers.adapters[QUANTIZED]}), parameters, 2, choice));
    end(&strangers);
    struct quantized elsewhere = twins.quantized;
    elsewhere.code_view.data = elsewhere.codes;
    elsewhere.weights.data = &elsewhere.code_view;
    CHECK_OK(speft_bind_weights(adapters[2], 0, &elsewhere.weights, &error));
    CHECK_FAILS(invalid, "'layer' of adapter 2 and 'layer' of adapter 0 are not bound to the same weights",
                EACH(adapters, parameters, SERVED, choice));
    CHECK_BYTES(y, before, sizeof y);
    for (int i = 0; i < SERVED; ++i) speft_destroy_adapter(adapters[i]);
    end(&twins);
}

/* A layer that nobody trains. */
static void test_products_without_an_adapter(void) {
    for (int32_t kind = SPEFT_WEIGHTS_NF4; kind <= SPEFT_WEIGHTS_INT8; ++kind) {
        struct twins twins;
        start(&twins, &ways[0], kind, kind == SPEFT_WEIGHTS_FP4);
        float y[TOKENS * ROWS], dx[TOKENS * COLUMNS];
        fill(twins.x, TOKENS * COLUMNS, 5);
        fill(twins.dy, TOKENS * ROWS, 6);
        const speft_tensor *const x = MATRIX(twins.x, float32, TOKENS, COLUMNS);
        const speft_tensor *const dy = MATRIX(twins.dy, float32, TOKENS, ROWS);
        const speft_tensor *const to_y = MATRIX(y, float32, TOKENS, ROWS);
        const speft_tensor *const to_dx = MATRIX(dx, float32, TOKENS, COLUMNS);
        const speft_weights *const weights = &twins.quantized.weights;
        CHECK_OK(speft_quantized_forward(twins.context, weights, NULL, x, to_y, &error));
        CHECK_OK(speft_quantized_backward(twins.context, weights, NULL, dy, to_dx, &error));
        for (int token = 0; token < TOKENS; ++token) {
            for (int row = 0; row < ROWS; ++row) {
                double sum = 0, size = 0;
                for (int column = 0; column < COLUMNS; ++column) {
                    const double product = (double)twins.x[token * COLUMNS + column] *
                                           twins.originals[row * COLUMNS + column];
                    sum += product;
                    size += fabs(product);
                }
                CHECK(fabs(y[token * ROWS + row] - sum) <= COLUMNS * 0x1p-24 * size);
            }
            for (int column = 0; column < COLUMNS; ++column) {
                double sum = 0, size = 0;
                for (int row = 0; row < ROWS; ++row) {
                    const double product = (double)twins.dy[token * ROWS + row] *
                                           twins.originals[row * COLUMNS + column];
                    sum += product;
                    size += fabs(product);
                }
                CHECK(fabs(dx[token * COLUMNS + column] - sum) <= ROWS * 0x1p-24 * size);
            }
        }
        /* What lies [in, out] goes forward as the other goes backward. */
        speft_linear_options options;
        speft_linear_options_init(&options, sizeof options);
        options.layout = SPEFT_LAYOUT_IN_OUT;
        float again[TOKENS * COLUMNS];
        CHECK_OK(speft_quantized_forward(twins.context, weights, &options, dy,
                                         MATRIX(again, float32, TOKENS, COLUMNS), &error));
        CHECK_BYTES(again, dx, sizeof dx);

        const int32_t invalid = SPEFT_INVALID_ARGUMENT;
        options.delta_only = 1;
        CHECK_FAILS(invalid, "delta_only",
                    speft_quantized_forward(twins.context, weights, &options, dy, to_dx, &error));
        CHECK_FAILS(invalid, "quantized", speft_quantized_forward(twins.context, NULL, NULL, x, to_y, &error));
        CHECK_FAILS(invalid, "x must not", speft_quantized_forward(twins.context, weights, NULL, NULL, to_y, &error));
        CHECK_FAILS(invalid, "dx must not",
                    speft_quantized_backward(twins.context, weights, NULL, dy, NULL, &error));
        CHECK_FAILS(invalid, "as many rows; got 6 and 5",
                    speft_quantized_forward(twins.context, weights, NULL, x, MATRIX(y, float32, 5, ROWS), &error));
        CHECK_FAILS(invalid, "2 axes", speft_quantized_forward(twins.context, weights, NULL, x,
                                                               VECTOR(y, float32, TOKENS * ROWS), &error));
        CHECK_FAILS(invalid, "quantized.",
                    speft_quantized_forward(twins.context, weights, NULL, x, MATRIX(y, float32, TOKENS, 2), &error));
        end(&twins);
    }
}

/* ---- files ---- */

static int64_t read_file(const char *path, char *bytes, int64_t capacity) {
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    const int64_t size = (int64_t)fread(bytes, 1, (size_t)capacity, file);
    fclose(file);
    if (size == capacity) abort();
    return size;
}

static void forward(speft_adapter *adapter, const float *x, float *y) {
    CHECK_OK(speft_linear_forward(adapter, 0, NULL, MATRIX(x, float32, TOKENS, COLUMNS),
                                  MATRIX(y, float32, TOKENS, ROWS), &error));
}

/* An adapter belongs to the values of its base, however they are kept: its file is the dense twin's. */
static void test_files(void) {
    static const char *const paths[TWINS] = {"quantized.safetensors", "quantized-twin.safetensors"};
    const struct way *const way = &ways[3]; /* with settled scalars */
    struct twins twins;
    start(&twins, way, SPEFT_WEIGHTS_NF4, 1);
    prepare(&twins, way);
    train(&twins, way, STEPS);
    static char bytes[TWINS][1 << 16];
    int64_t sizes[TWINS];
    for (int twin = 0; twin < TWINS; ++twin) {
        CHECK_OK(speft_save_adapter(twins.adapters[twin], NULL, paths[twin], &error));
        sizes[twin] = read_file(paths[twin], bytes[twin], sizeof bytes[twin]);
    }
    CHECK_EQUAL(sizes[0], sizes[1]);
    CHECK_BYTES(bytes[0], bytes[1], (size_t)sizes[0]);
    float y[TOKENS * ROWS], again[TOKENS * ROWS];
    fill(twins.x, TOKENS * COLUMNS, 9);
    forward(twins.adapters[QUANTIZED], twins.x, y);

    /* Served unmerged, by another process. What was settled is trained in a loaded adapter: another order of sums. */
    speft_adapter *loaded = NULL;
    CHECK_OK(speft_load_adapter(twins.context, NULL, paths[QUANTIZED], &loaded, &error));
    CHECK_OK(speft_bind_weights(loaded, 0, &twins.quantized.weights, &error));
    float other[OTHER];
    fill(other, OTHER, 2);
    bind(loaded, 1, MATRIX(other, float32, OTHER_ROWS, OTHER_COLUMNS));
    const speft_tensor *const x = MATRIX(twins.x, float32, TOKENS, COLUMNS);
    const speft_tensor *const target = MATRIX(again, float32, TOKENS, ROWS);
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach", speft_linear_forward(loaded, 0, NULL, x, target, &error));
    CHECK_OK(speft_attach(loaded, &error));
    CHECK_EQUAL(read_state(loaded).attached, 1);
    CHECK_EQUAL(read_state(loaded).merged, 0);
    CHECK_BYTES(other, twins.other[0], sizeof other); /* dense weights are trained in place */
    forward(loaded, twins.x, again);
    for (int i = 0; i < TOKENS * ROWS; ++i) CHECK(fabsf(again[i] - y[i]) <= COLUMNS * 0x1p-23f);
    CHECK_OK(speft_unmerge(loaded, &error));
    float unmerged[TOKENS * ROWS];
    forward(loaded, twins.x, unmerged);
    CHECK_BYTES(unmerged, again, sizeof again);

    /* On the same values as dense weights it is merged in place. */
    float dense[SCALARS];
    memcpy(dense, twins.originals, sizeof dense);
    bind(loaded, 0, MATRIX(dense, float32, ROWS, COLUMNS));
    CHECK_OK(speft_merge(loaded, &error));
    CHECK_BYTES(dense, twins.weights, sizeof dense);
    speft_destroy_adapter(loaded);

    /* On another base it is refused by name, and nothing is merged. */
    CHECK_OK(speft_load_adapter(twins.context, NULL, paths[QUANTIZED], &loaded, &error));
    struct quantized wrong = twins.quantized;
    for (int i = 0; i < SCALARS / 2; ++i) wrong.codes[i] ^= 0x11;
    wrong.weights.data = &wrong.code_view;
    wrong.code_view.data = wrong.codes;
    CHECK_OK(speft_bind_weights(loaded, 0, &wrong.weights, &error));
    fill(other, OTHER, 2);
    bind(loaded, 1, MATRIX(other, float32, OTHER_ROWS, OTHER_COLUMNS));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "base weights of 'layer'", speft_attach(loaded, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "base weights of 'layer'", speft_merge(loaded, &error));
    speft_destroy_adapter(loaded);
    for (int twin = 0; twin < TWINS; ++twin) remove(paths[twin]);
    end(&twins);
}

/* Each twin goes on from its own checkpoint, the quantized one also where the masks move again. */
static void test_checkpoints(void) {
    static const char path[] = "quantized-checkpoint.safetensors";
    for (int at = 0; at < COUNT_OF(ways); ++at) {
        if (ways[at].method == SPEFT_SELECT_WANDA) continue; /* observed for no more */
        struct twins twins;
        start(&twins, &ways[at], SPEFT_WEIGHTS_NF4, 0);
        prepare(&twins, &ways[at]);
        train(&twins, &ways[at], 5);
        CHECK_OK(speft_save_checkpoint(twins.adapters[QUANTIZED], NULL, path, &error));
        speft_destroy_adapter(twins.adapters[QUANTIZED]);
        CHECK_OK(speft_load_checkpoint(twins.context, NULL, path, &twins.adapters[QUANTIZED], &error));
        bind_twin(&twins, QUANTIZED, twins.adapters[QUANTIZED]);
        CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach", speft_step(twins.adapters[QUANTIZED], NULL, &error));
        CHECK_OK(speft_attach(twins.adapters[QUANTIZED], &error));
        train(&twins, &ways[at], STEPS);
        check_alike(&twins);
        remove(path);
        end(&twins);
    }
}

/* ---- merging ---- */

static unsigned code_of(const struct quantized *quantized, int32_t kind, int i) {
    if (kind == SPEFT_WEIGHTS_INT8) return quantized->codes[i];
    return i % 2 == 0 ? quantized->codes[i / 2] >> 4 : quantized->codes[i / 2] & 15u;
}

static int has_delta(const float *weights, const float *originals, int begin, int end) {
    return memcmp(weights + begin, originals + begin, (size_t)(end - begin) * sizeof(float)) != 0;
}

/* The distance to the nearest code at this scale, by trying all. */
static double distance(int32_t kind, const float *levels, float absmax, float weight) {
    double least = INFINITY;
    for (int code = kind == SPEFT_WEIGHTS_INT8 ? -127 : 0; code < (kind == SPEFT_WEIGHTS_INT8 ? 128 : 16); ++code) {
        const double value = kind == SPEFT_WEIGHTS_INT8 ? (double)code * absmax / 127 : (double)levels[code] * absmax;
        least = fmin(least, fabs(value - weight));
    }
    return least;
}

/* The sixteen levels: what codes of a scale of 1 dequantize to. */
static void read_levels(speft_context *context, int32_t kind, float *levels) {
    struct quantized quantized;
    start_quantized(&quantized, kind, 0);
    const int64_t eight[] = {8}, sixteen[] = {16};
    for (int i = 0; i < 8; ++i) quantized.codes[i] = (uint8_t)(2 * i << 4 | (2 * i + 1));
    quantized.code_view = view(quantized.codes, uint8, 1, eight);
    quantized.absmax_view = view(quantized.absmax, float32, 1, one);
    quantized.absmax[0] = 1;
    const speft_tensor tensor = view(levels, float32, 1, sixteen);
    CHECK_OK(speft_dequantize(context, &quantized.weights, &tensor, &error));
}

static void check_merged(struct twins *twins, int32_t kind, int twice) {
    const struct quantized *const now = &twins->quantized, *const before = &twins->before;
    float values[SCALARS], levels[16];
    const speft_tensor tensor = view(values, float32, 2, matrix);
    CHECK_OK(speft_dequantize(twins->context, &now->weights, &tensor, &error));
    if (kind != SPEFT_WEIGHTS_INT8) read_levels(twins->context, kind, levels);
    const int block = kind == SPEFT_WEIGHTS_INT8 ? COLUMNS : BLOCK;
    double squares = 0, squared_errors = 0;
    int64_t deltas = 0, changed = 0;
    for (int begin = 0; begin < SCALARS; begin += block) {
        const int end = begin + block < SCALARS ? begin + block : SCALARS;
        if (!has_delta(twins->weights, twins->originals, begin, end)) {
            for (int i = begin; i < end; ++i) CHECK_EQUAL(code_of(now, kind, i), code_of(before, kind, i));
            CHECK_EQUAL(now->absmax_codes[begin / block], before->absmax_codes[begin / block]);
            CHECK_BYTES(&now->absmax[begin / block], &before->absmax[begin / block], sizeof(float));
            continue;
        }
        float absmax = 0;
        for (int i = begin; i < end; ++i) absmax = fmaxf(absmax, fabsf(twins->weights[i]));
        const float scale = now->absmax[begin / block]; /* the one it had where that is better */
        if (!twice) CHECK(scale == absmax || scale == before->absmax[begin / block]);
        for (int i = begin; i < end; ++i) {
            const double miss = fabs((double)values[i] - twins->weights[i]);
            if (!twice) /* roundings of the share, the middles and the value */
                CHECK(miss <= distance(kind, levels, scale, twins->weights[i]) + absmax * 0x1p-21);
            squares += (double)twins->weights[i] * twins->weights[i];
            squared_errors += miss * miss;
            deltas += twins->weights[i] != twins->originals[i];
            changed += twins->weights[i] != twins->originals[i] && code_of(now, kind, i) != code_of(before, kind, i);
        }
    }
    for (int64_t parameter = -1; parameter < 1; ++parameter) {
        speft_requantization done = {.struct_size = sizeof done};
        CHECK_OK(speft_get_requantization(twins->adapters[QUANTIZED], parameter, &done, &error));
        CHECK_EQUAL(done.deltas, deltas);
        CHECK_EQUAL(done.changed, changed);
        CHECK(changed > 0);
        CHECK(fabs(done.relative_error - sqrt(squared_errors / squares)) <= 1e-12);
        CHECK(done.relative_error < 0.2);
    }
}

static void test_merging(void) {
    const struct way sparse = {"few", SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, 0,
                               SPEFT_DECAY_TO_ORIGINAL, 4, 0, 0.2};
    for (int32_t kind = SPEFT_WEIGHTS_NF4; kind <= SPEFT_WEIGHTS_INT8; ++kind)
        for (int twice = 0; twice < (kind == SPEFT_WEIGHTS_INT8 ? 1 : 2); ++twice) {
            struct twins twins;
            start(&twins, &sparse, kind, twice);
            prepare(&twins, &sparse);
            train(&twins, &sparse, STEPS);
            speft_adapter *const adapter = twins.adapters[QUANTIZED];
            speft_requantization done = {.struct_size = sizeof done};
            CHECK_FAILS(SPEFT_INVALID_STATE, "speft_merge", speft_get_requantization(adapter, 0, &done, &error));
            for (int round = 0; round < 3; ++round) { /* from attached, and from unmerged */
                CHECK_OK(speft_merge(adapter, &error));
                CHECK_EQUAL(read_state(adapter).merged, 1);
                CHECK_EQUAL(read_state(adapter).attached, 0);
                check_merged(&twins, kind, twice);
                CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'other' are not quantized",
                            speft_get_requantization(adapter, 1, &done, &error));
                CHECK_FAILS(SPEFT_INVALID_STATE, "in the weights",
                            speft_linear_forward(adapter, 0, NULL, MATRIX(twins.x, float32, TOKENS, COLUMNS),
                                                 MATRIX(twins.dy, float32, TOKENS, ROWS), &error));
                CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach", speft_step(adapter, NULL, &error));
                if (round == 1) {
                    CHECK_OK(speft_attach(adapter, &error));
                } else {
                    CHECK_OK(speft_unmerge(adapter, &error));
                    CHECK(memcmp(twins.other[0], twins.other[1], sizeof twins.other[0]) != 0);
                    CHECK_OK(speft_attach(adapter, &error));
                }
                check_alike(&twins);
            }

            /* Codes that change behind the adapter are not thrown away. */
            CHECK_OK(speft_merge(adapter, &error));
            twins.quantized.codes[3] ^= 1;
            const struct quantized changed = twins.quantized;
            CHECK_FAILS(SPEFT_INVALID_STATE, "changed behind the adapter", speft_unmerge(adapter, &error));
            CHECK_BYTES(&twins.quantized, &changed, sizeof changed);
            twins.quantized.codes[3] ^= 1;
            CHECK_OK(speft_unmerge(adapter, &error));
            end(&twins);
        }
}

/* A weight that would not be finite: nothing is merged, and both layers are as before. */
static void test_merging_what_cannot_be(void) {
    const int64_t mask[] = {1}, others[] = {2};
    const float gradient[] = {1};
    struct way given = ways[0];
    given.method = SPEFT_SELECT_GIVEN_MASK;
    given.optimizer = SPEFT_OPTIMIZER_SGD;
    struct twins twins;
    start(&twins, &given, SPEFT_WEIGHTS_NF4, 0);
    speft_adapter *const adapter = twins.adapters[QUANTIZED];
    give_mask(adapter, 0, mask, 1);
    give_mask(adapter, 1, others, 1);
    CHECK_OK(speft_select(adapter, NULL, &error));
    const speft_gradient values = values_gradient(VECTOR(gradient, float32, 1));
    for (int64_t parameter = 0; parameter < 2; ++parameter)
        CHECK_OK(speft_accumulate(adapter, parameter, &values, &error));
    speft_hyperparameters rates;
    speft_hyperparameters_init(&rates, sizeof rates);
    rates.learning_rate = 100;
    const speft_hyperparameters *const groups[] = {&rates};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    options.gradient_scale = 1e38;
    CHECK_OK(speft_step(adapter, &options, &error));
    CHECK_OK(speft_unmerge(adapter, &error));
    float other[OTHER];
    memcpy(other, twins.other[QUANTIZED], sizeof other);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'layer' cannot be quantized", speft_merge(adapter, &error));
    CHECK_BYTES(&twins.quantized, &twins.before, sizeof twins.before);
    CHECK_BYTES(twins.other[QUANTIZED], other, sizeof other);
    CHECK_EQUAL(read_state(adapter).merged, 0);
    end(&twins);
}

/* ---- bad input ---- */

static void test_bindings(void) {
    struct twins twins;
    start(&twins, &ways[0], SPEFT_WEIGHTS_NF4, 1);
    speft_adapter *const adapter = twins.adapters[QUANTIZED];
    struct quantized quantized;
    const float bad[] = {NAN, INFINITY, -1};
    const int32_t invalid = SPEFT_INVALID_ARGUMENT;
    for (int i = 0; i < COUNT_OF(bad); ++i) {
        start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 0);
        quantized.absmax[3] = bad[i];
        CHECK_FAILS(invalid, "weights of 'layer': quantized.absmax",
                    speft_bind_weights(adapter, 0, &quantized.weights, &error));
        start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 1);
        quantized.absmax_absmax[0] = bad[i];
        CHECK_FAILS(invalid, "absmax_absmax", speft_bind_weights(adapter, 0, &quantized.weights, &error));
    }
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 1);
    quantized.absmax_offset[0] = INFINITY;
    CHECK_FAILS(invalid, "absmax_offset", speft_bind_weights(adapter, 0, &quantized.weights, &error));
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 0);
    quantized.quantization.block = 128;
    CHECK_FAILS(invalid, "'layer': quantized.absmax must have 3",
                speft_bind_weights(adapter, 0, &quantized.weights, &error));
    start_quantized(&quantized, SPEFT_WEIGHTS_INT8, 0);
    CHECK_FAILS(invalid, "'other': quantized.data must have shape",
                speft_bind_weights(adapter, 1, &quantized.weights, &error));
    quantized.weights.kind = 9;
    CHECK_FAILS(invalid, "kind", speft_bind_weights(adapter, 0, &quantized.weights, &error));
    speft_weights dense = dense_weights(MATRIX(twins.weights, float32, ROWS, COLUMNS));
    dense.quantization = &twins.quantized.quantization;
    CHECK_FAILS(invalid, "quantization must be NULL", speft_bind_weights(adapter, 0, &dense, &error));

    /* What is in effect decides where the deltas are. */
    prepare(&twins, &ways[0]);
    dense.quantization = NULL;
    CHECK_FAILS(SPEFT_INVALID_STATE, "'layer' was bound to quantized",
                speft_bind_weights(adapter, 0, &dense, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'layer' was bound to dense",
                speft_bind_weights(twins.adapters[DENSE], 0, &twins.quantized.weights, &error));
    CHECK_OK(speft_bind_weights(adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'layer' was bound to quantized",
                speft_bind_weights(adapter, 0, &dense, &error));
    CHECK_EQUAL(read_state(adapter).merged, 0);
    CHECK_OK(speft_bind_weights(adapter, 0, &twins.quantized.weights, &error));
    train(&twins, &ways[0], 2);

    /* Two adapters are not merged into one place. */
    speft_adapter *const second = create(&twins, &ways[0]);
    CHECK_OK(speft_bind_weights(second, 0, &twins.quantized.weights, &error));
    float other[OTHER];
    fill(other, OTHER, 2);
    bind(second, 1, MATRIX(other, float32, OTHER_ROWS, OTHER_COLUMNS));
    CHECK_OK(speft_select(second, NULL, &error)); /* beside the same base */
    CHECK_OK(speft_merge(adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "overlap", speft_merge(second, &error));
    CHECK_OK(speft_attach(adapter, &error));
    CHECK_OK(speft_merge(second, &error));
    CHECK_OK(speft_unmerge(second, &error));
    CHECK_FAILS(invalid, "beside its weights", speft_measure_rounding_loss(adapter, 0, &(double){0}, &error));
    CHECK_FAILS(invalid, "parameter", speft_get_requantization(adapter, 2, &(speft_requantization){0}, &error));
    CHECK_FAILS(invalid, "adapter", speft_get_requantization(NULL, 0, &(speft_requantization){0}, &error));
    speft_destroy_adapter(second);
    end(&twins);
}

static void test_what_cannot_be_quantized(void) {
    struct twins twins;
    start(&twins, &ways[0], SPEFT_WEIGHTS_NF4, 0);
    speft_parameter head = DECLARE_MATRIX("head", ROWS, COLUMNS);
    head.role = SPEFT_ROLE_DENSE;
    const speft_selection_options random = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    speft_adapter *adapter = create_adapter(twins.context, &random, &head, 1);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'head' is a dense parameter",
                speft_bind_weights(adapter, 0, &twins.quantized.weights, &error));
    speft_destroy_adapter(adapter);

    const speft_parameter layer = DECLARE_MATRIX("layer", ROWS, COLUMNS);
    const speft_selection_options change = choose(SPEFT_SELECT_WEIGHT_CHANGE, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    adapter = create_adapter(twins.context, &change, &layer, 1);
    CHECK_OK(speft_bind_weights(adapter, 0, &twins.quantized.weights, &error));
    CHECK_OK(speft_set_reference(adapter, 0, MATRIX(twins.originals, float32, ROWS, COLUMNS), &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'layer' has quantized weights", speft_select(adapter, NULL, &error));
    speft_destroy_adapter(adapter);

    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    options.rows = ROWS;
    options.columns = COLUMNS;
    speft_basis *basis = NULL;
    CHECK_OK(speft_create_basis(twins.context, &options, &basis, &error));
    float gradients[SCALARS];
    fill(gradients, SCALARS, 5);
    const speft_gradient gradient = dense_gradient(MATRIX(gradients, float32, ROWS, COLUMNS));
    CHECK_OK(speft_observe_basis(basis, &gradient, &error));
    CHECK_OK(speft_fit_basis(basis, NULL, &error));
    const speft_selection_options sparsegrad = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    adapter = create_adapter(twins.context, &sparsegrad, &layer, 1);
    CHECK_OK(speft_bind_weights(adapter, 0, &twins.quantized.weights, &error));
    CHECK_FAILS(SPEFT_UNSUPPORTED, "'layer' has quantized weights", speft_bind_basis(adapter, 0, basis, &error));
    CHECK_OK(speft_bind_weights(adapter, 0, NULL, &error));
    bind(adapter, 0, MATRIX(twins.weights, float32, ROWS, COLUMNS));
    CHECK_OK(speft_bind_basis(adapter, 0, basis, &error));
    CHECK_FAILS(SPEFT_UNSUPPORTED, "'layer' is trained in a basis",
                speft_bind_weights(adapter, 0, &twins.quantized.weights, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_basis(basis);
    end(&twins);
}

int main(void) {
    RUN(test_training_is_the_dense_twins);
    RUN(test_rows_of_different_adapters);
    RUN(test_products_without_an_adapter);
    RUN(test_files);
    RUN(test_checkpoints);
    RUN(test_merging);
    RUN(test_merging_what_cannot_be);
    RUN(test_bindings);
    RUN(test_what_cannot_be_quantized);
    return check_result();
}
