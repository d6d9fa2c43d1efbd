/* Training in a basis: SparseGrad's layer, its gradient, its merge and its files, against float64 written out. */
#include "host.h"
#include "numbers.h"

enum { ROWS = 6, COLUMNS = 9, SIZE = ROWS * COLUMNS, TOKENS = 5, BUDGET = 6, STEPS = 4 };

/* A layer [out, in] of ROWS outputs, or [in, out] of ROWS inputs, in a fitted basis that has all directions unless told
 * otherwise. */
struct layer {
    speft_context *context;
    speft_basis *basis;
    speft_adapter *adapter;
    int32_t layout;
    int64_t row_directions, column_directions;
    float weights[SIZE], before[SIZE];
    double u[COLUMNS * COLUMNS], v[ROWS * ROWS];
    float x[TOKENS * COLUMNS], dy[TOKENS * COLUMNS];
    int64_t in, out;
};

static void fit(struct layer *layer) {
    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    options.rows = ROWS;
    options.columns = COLUMNS;
    options.row_directions = layer->row_directions;
    options.column_directions = layer->column_directions;
    CHECK_OK(speft_create_basis(layer->context, &options, &layer->basis, &error));
    for (uint32_t step = 0; step < 12; ++step) {
        float dense[SIZE];
        fill(dense, SIZE, 500 + step);
        const speft_gradient gradient = dense_gradient(MATRIX(dense, float32, ROWS, COLUMNS));
        CHECK_OK(speft_observe_basis(layer->basis, &gradient, &error));
    }
    CHECK_OK(speft_fit_basis(layer->basis, NULL, &error));
    speft_tensor u, v;
    CHECK_OK(speft_get_basis(layer->basis, &u, &v, &error));
    layer->row_directions = v.shape[0];
    layer->column_directions = u.shape[0];
    for (int64_t i = 0; i < u.shape[0] * COLUMNS; ++i) layer->u[i] = ((const float *)u.data)[i];
    for (int64_t i = 0; i < v.shape[0] * ROWS; ++i) layer->v[i] = ((const float *)v.data)[i];
}

static speft_adapter *create(struct layer *layer, int32_t schedule_kind) {
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.schedule = schedule_kind;
    speft_selection_options selection = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_PER_TENSOR, 0, BUDGET);
    selection.schedule = &schedule;
    const speft_parameter parameter = DECLARE_MATRIX("up", ROWS, COLUMNS);
    return create_adapter(layer->context, &selection, &parameter, 1);
}

static void bind_layer(struct layer *layer) { bind(layer->adapter, 0, MATRIX(layer->weights, float32, ROWS, COLUMNS)); }

static void start(struct layer *layer, int32_t layout, int64_t row_directions, int64_t column_directions) {
    memset(layer, 0, sizeof *layer);
    layer->context = create_context();
    layer->layout = layout;
    layer->row_directions = row_directions;
    layer->column_directions = column_directions;
    layer->in = layout == SPEFT_LAYOUT_OUT_IN ? COLUMNS : ROWS;
    layer->out = layout == SPEFT_LAYOUT_OUT_IN ? ROWS : COLUMNS;
    fill(layer->weights, SIZE, 1);
    memcpy(layer->before, layer->weights, sizeof layer->before);
    fill(layer->x, TOKENS * layer->in, 2);
    fill(layer->dy, TOKENS * layer->out, 3);
    fit(layer);
    layer->adapter = create(layer, SPEFT_SCHEDULE_DEFAULT);
    bind_layer(layer);
    CHECK_OK(speft_bind_basis(layer->adapter, 0, layer->basis, &error));
    CHECK_OK(speft_select(layer->adapter, NULL, &error));
}

static void finish(struct layer *layer) {
    speft_destroy_adapter(layer->adapter);
    speft_destroy_basis(layer->basis);
    speft_destroy_context(layer->context);
}

/* dW [ROWS, COLUMNS] of the activations, and V dW Uᵀ. */
static void rotate(const struct layer *layer, const double *gradient, double *rotated) {
    for (int64_t i = 0; i < layer->row_directions; ++i)
        for (int64_t j = 0; j < layer->column_directions; ++j) {
            double sum = 0;
            for (int r = 0; r < ROWS; ++r)
                for (int c = 0; c < COLUMNS; ++c)
                    sum += layer->v[i * ROWS + r] * gradient[r * COLUMNS + c] * layer->u[j * COLUMNS + c];
            rotated[i * layer->column_directions + j] = sum;
        }
}

static void gradient_of_activations(const struct layer *layer, double *gradient) {
    const int out_in = layer->layout == SPEFT_LAYOUT_OUT_IN;
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) {
            gradient[r * COLUMNS + c] = 0;
            for (int t = 0; t < TOKENS; ++t)
                gradient[r * COLUMNS + c] +=
                    out_in ? (double)layer->dy[t * layer->out + r] * layer->x[t * layer->in + c]
                           : (double)layer->x[t * layer->in + r] * layer->dy[t * layer->out + c];
        }
}

/* W + Vᵀ Δ̃ U of the adapter's deltas. */
static void effective_weight(const struct layer *layer, double *weight) {
    int64_t mask[SIZE];
    const int64_t count = read_mask(layer->adapter, 0, mask, SIZE);
    const float *deltas = lend_deltas(layer->adapter, 0);
    for (int i = 0; i < SIZE; ++i) weight[i] = layer->before[i];
    for (int64_t j = 0; j < count; ++j) {
        const int64_t row = mask[j] / layer->column_directions, column = mask[j] % layer->column_directions;
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c)
                weight[r * COLUMNS + c] +=
                    layer->v[row * ROWS + r] * (double)deltas[j] * layer->u[column * COLUMNS + c];
    }
}

static void accumulate_layer(struct layer *layer) {
    const speft_gradient gradient =
        activations_gradient(MATRIX(layer->x, float32, TOKENS, layer->in),
                             MATRIX(layer->dy, float32, TOKENS, layer->out), layer->layout);
    CHECK_OK(speft_accumulate(layer->adapter, 0, &gradient, &error));
}

static void train(struct layer *layer) {
    speft_step_options step;
    speft_step_options_init(&step, sizeof step);
    speft_hyperparameters group;
    speft_hyperparameters_init(&group, sizeof group);
    group.learning_rate = 0.05;
    const speft_hyperparameters *const groups[] = {&group};
    step.groups = groups;
    step.group_count = 1;
    for (uint32_t i = 0; i < STEPS; ++i) {
        fill(layer->x, TOKENS * layer->in, 20 + i);
        fill(layer->dy, TOKENS * layer->out, 40 + i);
        accumulate_layer(layer);
        CHECK_OK(speft_reselect(layer->adapter, NULL, NULL, &error));
        CHECK_OK(speft_step(layer->adapter, &step, &error));
    }
}

/* Products of a few dozen float32 terms of size 1: so many roundings of 2^-24, with room. */
static const double near = 64 * 0x1p-24;

/* y = x(W+Δ)ᵀ and dx = dy(W+Δ), with and without W, replaced or added; against W + Vᵀ Δ̃ U in float64. */
static void check_products(struct layer *layer, int tokens) {
    double weight[SIZE];
    effective_weight(layer, weight);
    const int out_in = layer->layout == SPEFT_LAYOUT_OUT_IN;
    float *x = malloc((size_t)(tokens * COLUMNS) * sizeof *x), *y = malloc((size_t)(tokens * COLUMNS) * sizeof *y);
    for (int backward = 0; backward < 2; ++backward)
        for (int delta_only = 0; delta_only < 2; ++delta_only)
            for (int accumulate = 0; accumulate < 2; ++accumulate) {
                const int64_t from = backward ? layer->out : layer->in, to = backward ? layer->in : layer->out;
                fill(x, tokens * from, 61);
                for (int64_t i = 0; i < tokens * to; ++i) y[i] = accumulate ? 0.5f : NAN;
                speft_linear_options options;
                speft_linear_options_init(&options, sizeof options);
                options.layout = layer->layout;
                options.delta_only = delta_only;
                options.accumulate = accumulate;
                const speft_tensor *inputs = MATRIX(x, float32, tokens, from);
                const speft_tensor *outputs = MATRIX(y, float32, tokens, to);
                if (backward)
                    CHECK_OK(speft_linear_backward(layer->adapter, 0, &options, inputs, outputs, &error));
                else
                    CHECK_OK(speft_linear_forward(layer->adapter, 0, &options, inputs, outputs, &error));
                for (int t = 0; t < tokens; ++t)
                    for (int64_t o = 0; o < to; ++o) {
                        double sum = accumulate ? 0.5 : 0;
                        for (int64_t i = 0; i < from; ++i) {
                            /* Forward the inputs are columns of W [out, in] and rows of W [in, out]. */
                            const int64_t at = out_in != backward ? o * COLUMNS + i : i * COLUMNS + o;
                            sum += x[t * from + i] * (weight[at] - (delta_only ? layer->before[at] : 0));
                        }
                        CHECK(fabs(sum - y[t * to + o]) <= near);
                    }
            }
    free(x);
    free(y);
}

/* The largest |V dW Uᵀ| are selected, their values accumulated, and the first step is Adam's: lr in the direction. */
static void test_selects_the_largest_of_the_rotated_gradient(void) {
    static const int64_t directions[][2] = {{0, 0}, {4, 5}, {3, 8}};
    for (int32_t layout = SPEFT_LAYOUT_OUT_IN; layout <= SPEFT_LAYOUT_IN_OUT; ++layout)
        for (int i = 0; i < 3; ++i)
            for (int dense = 0; dense < 2; ++dense) {
                struct layer layer;
                start(&layer, layout, directions[i][0], directions[i][1]);
                double gradient[SIZE], rotated[SIZE];
                gradient_of_activations(&layer, gradient);
                rotate(&layer, gradient, rotated);
                if (dense) {
                    float values[SIZE];
                    for (int j = 0; j < SIZE; ++j) values[j] = (float)gradient[j];
                    accumulate_dense(layer.adapter, 0, MATRIX(values, float32, ROWS, COLUMNS));
                } else {
                    accumulate_layer(&layer);
                }
                CHECK_OK(speft_reselect(layer.adapter, NULL, NULL, &error));
                int64_t mask[SIZE];
                CHECK_EQUAL(read_mask(layer.adapter, 0, mask, SIZE), BUDGET);
                const float *values = lend_gradient(layer.adapter, 0);
                double least = INFINITY;
                for (int j = 0; j < BUDGET; ++j) {
                    CHECK(fabs(values[j] - rotated[mask[j]]) <= near);
                    least = fmin(least, fabs(rotated[mask[j]]));
                }
                int larger = 0;
                for (int64_t j = 0; j < layer.row_directions * layer.column_directions; ++j)
                    larger += fabs(rotated[j]) > least + 2 * near;
                CHECK(larger < BUDGET);
                CHECK_OK(speft_step(layer.adapter, NULL, &error));
                const float *deltas = lend_deltas(layer.adapter, 0);
                for (int j = 0; j < BUDGET; ++j)
                    CHECK(fabs(deltas[j] + copysign(1e-3, rotated[mask[j]])) <= 1e-3 * 0x1p-20);
                CHECK_BYTES(layer.weights, layer.before, sizeof layer.weights);
                finish(&layer);
            }
}

/* Few tokens go through the basis, many by way of ΔW; both in either layout, with all directions or some. */
static void test_products_have_the_delta(void) {
    static const int64_t directions[][2] = {{0, 0}, {4, 5}, {3, 8}};
    for (int32_t layout = SPEFT_LAYOUT_OUT_IN; layout <= SPEFT_LAYOUT_IN_OUT; ++layout)
        for (int i = 0; i < 3; ++i) {
            struct layer layer;
            start(&layer, layout, directions[i][0], directions[i][1]);
            train(&layer);
            check_products(&layer, 1);
            check_products(&layer, 300);
            finish(&layer);
        }
}

static void check_state(speft_adapter *adapter, int merged, int attached) {
    const speft_adapter_state state = read_state(adapter);
    CHECK_EQUAL(state.merged, merged);
    CHECK_EQUAL(state.attached, attached);
}

static void test_merges_and_restores_to_the_bit(void) {
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 0, 0);
    check_state(layer.adapter, 0, 1);
    train(&layer);
    double weight[SIZE];
    effective_weight(&layer, weight);
    CHECK_OK(speft_merge(layer.adapter, &error));
    check_state(layer.adapter, 1, 0);
    for (int i = 0; i < SIZE; ++i) CHECK(fabs(layer.weights[i] - weight[i]) <= near);
    float merged[SIZE];
    memcpy(merged, layer.weights, sizeof merged);
    CHECK_OK(speft_merge(layer.adapter, &error));
    CHECK_BYTES(layer.weights, merged, sizeof merged);
    accumulate_layer(&layer);
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach", speft_reselect(layer.adapter, NULL, NULL, &error));
    float y[TOKENS * ROWS];
    CHECK_FAILS(SPEFT_INVALID_STATE, "in the weights",
                speft_linear_forward(layer.adapter, 0, NULL, MATRIX(layer.x, float32, TOKENS, COLUMNS),
                                     MATRIX(y, float32, TOKENS, ROWS), &error));
    CHECK_OK(speft_attach(layer.adapter, &error));
    check_state(layer.adapter, 0, 1);
    CHECK_BYTES(layer.weights, layer.before, sizeof merged);
    CHECK_OK(speft_reselect(layer.adapter, NULL, NULL, &error));
    CHECK_OK(speft_step(layer.adapter, NULL, &error));
    CHECK_OK(speft_unmerge(layer.adapter, &error));
    check_state(layer.adapter, 0, 0);
    CHECK_BYTES(layer.weights, layer.before, sizeof merged);
    accumulate_layer(&layer);
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach", speft_reselect(layer.adapter, NULL, NULL, &error));
    check_products(&layer, 2);
    CHECK_OK(speft_merge(layer.adapter, &error));
    /* One weight that is not the adapter's stops everything. */
    const float kept = layer.weights[7];
    memcpy(merged, layer.weights, sizeof merged);
    layer.weights[7] = 9;
    merged[7] = 9;
    CHECK_FAILS(SPEFT_INVALID_STATE, "changed behind", speft_unmerge(layer.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "changed behind", speft_attach(layer.adapter, &error));
    CHECK_BYTES(layer.weights, merged, sizeof merged);
    layer.weights[7] = kept;
    CHECK_OK(speft_unmerge(layer.adapter, &error));
    CHECK_BYTES(layer.weights, layer.before, sizeof merged);
    finish(&layer);
}

static void test_merges_sixteen_bits_with_one_rounding(void) {
    struct layer layer;
    memset(&layer, 0, sizeof layer);
    layer.context = create_context();
    layer.layout = SPEFT_LAYOUT_OUT_IN;
    layer.in = COLUMNS;
    layer.out = ROWS;
    fit(&layer);
    uint16_t weights[SIZE], before[SIZE];
    fill(layer.before, SIZE, 1);
    for (int i = 0; i < SIZE; ++i) {
        weights[i] = encode_narrow(round_narrow(layer.before[i], narrow_bfloat16), narrow_bfloat16);
        layer.before[i] = (float)decode_narrow(weights[i], narrow_bfloat16);
    }
    memcpy(before, weights, sizeof before);
    speft_parameter parameter = DECLARE_MATRIX("up", ROWS, COLUMNS);
    parameter.dtype = bfloat16;
    const speft_selection_options selection = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    layer.adapter = create_adapter(layer.context, &selection, &parameter, 1);
    bind(layer.adapter, 0, MATRIX(weights, bfloat16, ROWS, COLUMNS));
    CHECK_OK(speft_bind_basis(layer.adapter, 0, layer.basis, &error));
    CHECK_OK(speft_select(layer.adapter, NULL, &error));
    train(&layer);
    double expected[SIZE];
    effective_weight(&layer, expected);
    CHECK_OK(speft_merge(layer.adapter, &error));
    for (int i = 0; i < SIZE; ++i) {
        /* The sum before its rounding is off by `near`: what lies that close to a tie may go either way. */
        const double actual = decode_narrow(weights[i], narrow_bfloat16);
        CHECK(actual == round_narrow(expected[i] - near, narrow_bfloat16) ||
              actual == round_narrow(expected[i] + near, narrow_bfloat16));
    }
    CHECK_OK(speft_unmerge(layer.adapter, &error));
    CHECK_BYTES(weights, before, sizeof before);
    finish(&layer);
}

static void test_files_have_the_basis(void) {
    static const char *const path = "sparsegrad.safetensors";
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 5, 7);
    train(&layer);
    float y[TOKENS * ROWS], again[TOKENS * ROWS];
    const speft_tensor *inputs = MATRIX(layer.x, float32, TOKENS, COLUMNS);
    CHECK_OK(speft_linear_forward(layer.adapter, 0, NULL, inputs, MATRIX(y, float32, TOKENS, ROWS), &error));
    CHECK_OK(speft_merge(layer.adapter, &error));
    CHECK_OK(speft_save_adapter(layer.adapter, NULL, path, &error));
    float merged[SIZE];
    memcpy(merged, layer.weights, sizeof merged);

    struct layer loaded;
    memset(&loaded, 0, sizeof loaded);
    loaded.context = create_context();
    memcpy(loaded.weights, layer.before, sizeof loaded.weights);
    CHECK_OK(speft_load_adapter(loaded.context, NULL, path, &loaded.adapter, &error));
    speft_parameter info = {.struct_size = sizeof info};
    CHECK_OK(speft_get_parameter(loaded.adapter, 0, &info, &error));
    CHECK(info.shape[0] == ROWS && info.shape[1] == COLUMNS);
    bind_layer(&loaded);
    CHECK_FAILS(SPEFT_INVALID_STATE, "speft_attach",
                speft_linear_forward(loaded.adapter, 0, NULL, inputs, MATRIX(again, float32, TOKENS, ROWS), &error));
    CHECK_OK(speft_attach(loaded.adapter, &error));
    CHECK_OK(speft_linear_forward(loaded.adapter, 0, NULL, inputs, MATRIX(again, float32, TOKENS, ROWS), &error));
    CHECK_BYTES(again, y, sizeof y);
    CHECK_OK(speft_merge(loaded.adapter, &error));
    CHECK_BYTES(loaded.weights, merged, sizeof merged);
    CHECK_OK(speft_unmerge(loaded.adapter, &error));
    loaded.weights[SIZE - 1] += 1;  /* no scalar of a mask: all of the weight counts */
    speft_destroy_adapter(loaded.adapter);
    CHECK_OK(speft_load_adapter(loaded.context, NULL, path, &loaded.adapter, &error));
    bind_layer(&loaded);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "right model", speft_attach(loaded.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "right model", speft_merge(loaded.adapter, &error));
    finish(&loaded);

    /* A checkpoint goes on to the bit. */
    CHECK_OK(speft_attach(layer.adapter, &error));
    CHECK_OK(speft_save_checkpoint(layer.adapter, NULL, path, &error));
    memset(&loaded, 0, sizeof loaded);
    loaded.context = create_context();
    loaded.layout = layer.layout;
    loaded.in = layer.in;
    loaded.out = layer.out;
    memcpy(loaded.weights, merged, sizeof loaded.weights); /* a host's own copy, made while it was merged */
    CHECK_OK(speft_load_checkpoint(loaded.context, NULL, path, &loaded.adapter, &error));
    bind_layer(&loaded);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "not the original ones", speft_attach(loaded.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "not the original ones", speft_merge(loaded.adapter, &error));
    CHECK_BYTES(loaded.weights, merged, sizeof loaded.weights);
    memcpy(loaded.weights, layer.before, sizeof loaded.weights);
    CHECK_OK(speft_attach(loaded.adapter, &error));
    train(&layer);
    train(&loaded);
    CHECK_OK(speft_merge(layer.adapter, &error));
    CHECK_OK(speft_merge(loaded.adapter, &error));
    CHECK_BYTES(loaded.weights, layer.weights, sizeof layer.weights);
    finish(&loaded);
    finish(&layer);
    remove(path);
}

/* By observations: the largest of the mean gradient in the basis; any optimizer. */
static void test_a_mask_chosen_once(void) {
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 0, 0);
    speft_destroy_adapter(layer.adapter);
    layer.adapter = create(&layer, SPEFT_SCHEDULE_NONE);
    bind_layer(&layer);
    CHECK_OK(speft_bind_basis(layer.adapter, 0, layer.basis, &error));
    double gradient[SIZE], rotated[SIZE];
    gradient_of_activations(&layer, gradient);
    rotate(&layer, gradient, rotated);
    const speft_gradient activations = activations_gradient(MATRIX(layer.x, float32, TOKENS, COLUMNS),
                                                            MATRIX(layer.dy, float32, TOKENS, ROWS), layer.layout);
    CHECK_OK(speft_observe(layer.adapter, 0, &activations, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "before the observations",
                speft_bind_basis(layer.adapter, 0, layer.basis, &error));
    CHECK_OK(speft_finish_observation(layer.adapter, 1, &error));
    CHECK_OK(speft_select(layer.adapter, NULL, &error));
    int64_t mask[SIZE];
    CHECK_EQUAL(read_mask(layer.adapter, 0, mask, SIZE), BUDGET);
    double least = INFINITY;
    for (int j = 0; j < BUDGET; ++j) least = fmin(least, fabs(rotated[mask[j]]));
    for (int j = 0; j < SIZE; ++j) {
        int selected = 0;
        for (int m = 0; m < BUDGET; ++m) selected |= mask[m] == j;
        CHECK(selected || fabs(rotated[j]) <= least + 2 * near);
    }
    accumulate_layer(&layer);
    const float *values = lend_gradient(layer.adapter, 0);
    for (int j = 0; j < BUDGET; ++j) CHECK(fabs(values[j] - rotated[mask[j]]) <= near);
    CHECK_OK(speft_step(layer.adapter, NULL, &error));
    check_products(&layer, 3);
    finish(&layer);
}

/* The products of an adapter in place, while it is unmerged: W + Δ with a sparse Δ. */
static void test_products_of_an_unmerged_adapter(void) {
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 0, 0);
    speft_destroy_adapter(layer.adapter);
    const speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, 0.3, 0);
    const speft_parameter parameter = DECLARE_MATRIX("up", ROWS, COLUMNS);
    layer.adapter = create_adapter(layer.context, &selection, &parameter, 1);
    bind_layer(&layer);
    CHECK_OK(speft_select(layer.adapter, NULL, &error));
    accumulate_layer(&layer);
    CHECK_OK(speft_step(layer.adapter, NULL, &error));
    float trained[SIZE], x[COLUMNS], y[ROWS];
    memcpy(trained, layer.weights, sizeof trained);
    fill(x, COLUMNS, 9);
    const speft_tensor *inputs = MATRIX(x, float32, 1, COLUMNS), *outputs = MATRIX(y, float32, 1, ROWS);
    CHECK_FAILS(SPEFT_INVALID_STATE, "in the weights",
                speft_linear_forward(layer.adapter, 0, NULL, inputs, outputs, &error));
    CHECK_OK(speft_unmerge(layer.adapter, &error));
    CHECK_OK(speft_linear_forward(layer.adapter, 0, NULL, inputs, outputs, &error));
    for (int r = 0; r < ROWS; ++r) {
        double sum = 0;
        for (int c = 0; c < COLUMNS; ++c) sum += (double)trained[r * COLUMNS + c] * x[c];
        CHECK(fabs(sum - y[r]) <= near);
    }
    finish(&layer);
}

/* All of ΔW as an ordinary delta is the same model; of less, the largest stay, and the share says how much that is. */
static void test_leaves_the_basis(void) {
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 0, 0);
    double share = -1;
    CHECK_OK(speft_leave_bases(layer.adapter, 0.5, NULL, &share, &error));
    CHECK(share == 1); /* of nothing */
    train(&layer);
    double weight[SIZE], all = 0;
    effective_weight(&layer, weight);
    for (int i = 0; i < SIZE; ++i) all += pow(weight[i] - layer.before[i], 2);
    static const double densities[] = {1, 0.25};
    for (int d = 0; d < 2; ++d) {
        speft_adapter *ordinary = NULL;
        CHECK_OK(speft_leave_bases(layer.adapter, densities[d], &ordinary, &share, &error));
        CHECK_BYTES(layer.weights, layer.before, sizeof layer.before);
        int64_t mask[SIZE];
        const int64_t count = read_mask(ordinary, 0, mask, SIZE);
        CHECK_EQUAL(count, d ? 13 : SIZE);
        double kept = 0, least = INFINITY;
        for (int64_t j = 0; j < count; ++j) {
            const double delta = weight[mask[j]] - layer.before[mask[j]];
            CHECK(fabs(lend_deltas(ordinary, 0)[j] - delta) <= near);
            kept += delta * delta;
            least = fmin(least, fabs(delta));
        }
        int larger = 0;
        for (int i = 0; i < SIZE; ++i) larger += fabs(weight[i] - layer.before[i]) > least + 2 * near;
        CHECK(larger < count || d == 0);
        CHECK(fabs(share - kept / all) <= 1e-5); /* float32 deltas */
        bind(ordinary, 0, MATRIX(layer.weights, float32, ROWS, COLUMNS));
        CHECK_OK(speft_merge(ordinary, &error));
        for (int64_t j = 0; j < count; ++j) CHECK(fabs(layer.weights[mask[j]] - weight[mask[j]]) <= near);
        CHECK_OK(speft_unmerge(ordinary, &error));
        CHECK_BYTES(layer.weights, layer.before, sizeof layer.before);
        speft_destroy_adapter(ordinary);
    }
    speft_adapter *none = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "density", speft_leave_bases(layer.adapter, 0, &none, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "NULL", speft_leave_bases(layer.adapter, 1, NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_leave_bases(NULL, 1, &none, NULL, &error));
    CHECK_OK(speft_merge(layer.adapter, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "merged", speft_leave_bases(layer.adapter, 1, &none, NULL, &error));
    CHECK_OK(speft_unmerge(layer.adapter, &error));
    CHECK_OK(speft_bind_weights(layer.adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "not bound", speft_leave_bases(layer.adapter, 1, &none, NULL, &error));
    CHECK(none == NULL);
    finish(&layer);
}

static void test_refusals(void) {
    struct layer layer;
    start(&layer, SPEFT_LAYOUT_OUT_IN, 0, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_bind_basis(NULL, 0, layer.basis, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameter", speft_bind_basis(layer.adapter, 1, layer.basis, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "before the selection", speft_bind_basis(layer.adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "an adapter trains in the basis", speft_fit_basis(layer.basis, NULL, &error));

    const speft_tensor *x = MATRIX(layer.x, float32, TOKENS, COLUMNS), *y = MATRIX(layer.dy, float32, TOKENS, ROWS);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_linear_forward(NULL, 0, NULL, x, y, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "x", speft_linear_forward(layer.adapter, 0, NULL, NULL, y, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "y", speft_linear_forward(layer.adapter, 0, NULL, x, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "dy", speft_linear_backward(layer.adapter, 0, NULL, NULL, x, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "dx", speft_linear_backward(layer.adapter, 0, NULL, y, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "inputs", speft_linear_forward(layer.adapter, 0, NULL, y, x, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "[4, 6]",
                speft_linear_forward(layer.adapter, 0, NULL, MATRIX(layer.x, float32, 4, COLUMNS), y, &error));
    speft_linear_options options;
    speft_linear_options_init(&options, sizeof options);
    options.layout = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "layout", speft_linear_forward(layer.adapter, 0, &options, x, y, &error));
    CHECK_OK(speft_bind_weights(layer.adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "not bound", speft_linear_forward(layer.adapter, 0, NULL, x, y, &error));
    options.layout = SPEFT_LAYOUT_OUT_IN;
    options.delta_only = 1;
    CHECK_OK(speft_linear_forward(layer.adapter, 0, &options, x, y, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "not bound", speft_merge(layer.adapter, &error));
    speft_destroy_adapter(layer.adapter);
    CHECK_OK(speft_fit_basis(layer.basis, NULL, &error));

    /* Without a basis; of another shape; in another context; of another method; not fitted. */
    layer.adapter = create(&layer, SPEFT_SCHEDULE_DEFAULT);
    bind_layer(&layer);
    CHECK_FAILS(SPEFT_INVALID_STATE, "'up' has no basis", speft_select(layer.adapter, NULL, &error));
    speft_context *elsewhere = create_context();
    struct layer other = {.context = elsewhere};
    fit(&other);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_bind_basis(layer.adapter, 0, other.basis, &error));
    speft_destroy_basis(other.basis);
    speft_destroy_context(elsewhere);
    CHECK_OK(speft_bind_basis(layer.adapter, 0, layer.basis, &error));
    CHECK_OK(speft_bind_basis(layer.adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "'up' has no basis", speft_select(layer.adapter, NULL, &error));
    speft_adapter *adapter = NULL;
    const speft_parameter parameters[] = {DECLARE_MATRIX("turned", COLUMNS, ROWS), DECLARE_MATRIX("up", ROWS, COLUMNS)};
    speft_selection_options selection = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_GLOBAL, 0.1, 0);
    adapter = create_adapter(layer.context, &selection, parameters, 2);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'turned' has shape [9, 6]",
                speft_bind_basis(adapter, 0, layer.basis, &error));
    speft_destroy_adapter(adapter);
    selection.method = SPEFT_SELECT_MEPROP;
    adapter = create_adapter(layer.context, &selection, &parameters[1], 1);
    CHECK_FAILS(SPEFT_INVALID_STATE, "sparsegrad", speft_bind_basis(adapter, 0, layer.basis, &error));
    speft_destroy_adapter(adapter);
    speft_basis_options fresh_options;
    speft_basis_options_init(&fresh_options, sizeof fresh_options);
    fresh_options.rows = ROWS;
    fresh_options.columns = COLUMNS;
    speft_basis *fresh = NULL;
    CHECK_OK(speft_create_basis(layer.context, &fresh_options, &fresh, &error));
    CHECK_FAILS(SPEFT_INVALID_STATE, "not fitted", speft_bind_basis(layer.adapter, 0, fresh, &error));
    speft_destroy_basis(fresh);
    speft_adapter_options adapter_options;
    speft_adapter_options_init(&adapter_options, sizeof adapter_options);
    selection.method = SPEFT_SELECT_SPARSEGRAD;
    adapter_options.selection = &selection;
    adapter_options.delta_type = SPEFT_DELTA_BFLOAT16;
    const speft_parameter *const all[] = {&parameters[1]};
    adapter = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "float32",
                speft_create_adapter(layer.context, &adapter_options, all, 1, &adapter, &error));
    finish(&layer);
}

int main(void) {
    RUN(test_selects_the_largest_of_the_rotated_gradient);
    RUN(test_products_have_the_delta);
    RUN(test_merges_and_restores_to_the_bit);
    RUN(test_merges_sixteen_bits_with_one_rounding);
    RUN(test_files_have_the_basis);
    RUN(test_a_mask_chosen_once);
    RUN(test_products_of_an_unmerged_adapter);
    RUN(test_leaves_the_basis);
    RUN(test_refusals);
    return check_result();
}
