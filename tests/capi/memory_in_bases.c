/* The plan of an adapter that trains in bases, against what its life then takes from the host's allocator. */
#include "meter.h"
#include "numbers.h"

enum { ROWS = 300, COLUMNS = 500, SCALARS = ROWS * COLUMNS, MOST_TOKENS = 600, HEAD = 700, STEPS = 5 };

/* Two up-projections that share a basis, and a down-projection with one of its own. */
enum { FIRST_UP, SECOND_UP, DOWN, MATRICES, PARAMETERS = MATRICES + 1 };

struct life {
    int64_t tokens;
    int64_t row_directions, column_directions; /* of the down-projection's basis; 0: all */
    int32_t schedule;
    int32_t type; /* SPEFT_CODE_BFLOAT: bfloat16 */
};

static float values[SCALARS], head[HEAD];
/* Of either width, up to COLUMNS of them, in float32 or narrow. */
static float inputs[MOST_TOKENS * COLUMNS], outputs[MOST_TOKENS * COLUMNS], products[MOST_TOKENS * COLUMNS];
static uint16_t narrow_inputs[MOST_TOKENS * COLUMNS], narrow_outputs[MOST_TOKENS * COLUMNS];

static speft_dtype type_of(const struct life *life) {
    return life->type == SPEFT_CODE_BFLOAT ? bfloat16 : float32;
}

static void narrow(const float *source, uint16_t *target, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
        target[i] = encode_narrow(round_narrow(source[i], narrow_bfloat16), narrow_bfloat16);
}

/* Other numbers each time, and so other scalars of a step. */
static void draw(uint32_t seed) {
    fill(inputs, MOST_TOKENS * COLUMNS, seed);
    fill(outputs, MOST_TOKENS * COLUMNS, seed + 1000);
    narrow(inputs, narrow_inputs, MOST_TOKENS * COLUMNS);
    narrow(outputs, narrow_outputs, MOST_TOKENS * COLUMNS);
}

struct layer {
    int64_t x_shape[2], dy_shape[2];
    speft_tensor x, dy, y, dx;
    speft_gradient gradient;
};

static void make_layer(const struct life *life, int parameter, struct layer *layer) {
    const speft_dtype type = type_of(life);
    const int wide = life->type == SPEFT_CODE_BFLOAT;
    layer->x_shape[0] = layer->dy_shape[0] = life->tokens;
    layer->x_shape[1] = parameter == DOWN ? ROWS : COLUMNS;
    layer->dy_shape[1] = parameter == DOWN ? COLUMNS : ROWS;
    layer->x = view(wide ? (void *)narrow_inputs : (void *)inputs, type, 2, layer->x_shape);
    layer->dy = view(wide ? (void *)narrow_outputs : (void *)outputs, type, 2, layer->dy_shape);
    layer->y = view(products, type, 2, layer->dy_shape);
    layer->dx = view(products, type, 2, layer->x_shape);
    layer->gradient = activations_gradient(&layer->x, &layer->dy, SPEFT_LAYOUT_OUT_IN);
}

static void live(const struct life life) {
    struct meter meter = {0, 0};
    speft_context *const context = create_metered_context(&meter);
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.schedule = life.schedule;
    const int by_step = life.schedule != SPEFT_SCHEDULE_NONE;
    speft_selection_options selection = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_GLOBAL, 0.05, 0);
    selection.schedule = &schedule;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;

    speft_parameter declared[PARAMETERS] = {
        DECLARE_MATRIX("up 0", ROWS, COLUMNS), DECLARE_MATRIX("up 1", ROWS, COLUMNS),
        DECLARE_MATRIX("down", COLUMNS, ROWS), DECLARE_VECTOR("head", HEAD)};
    declared[MATRICES].role = SPEFT_ROLE_DENSE;
    const speft_parameter *all[PARAMETERS];
    for (int p = 0; p < PARAMETERS; ++p) {
        if (p < MATRICES) declared[p].dtype = type_of(&life);
        all[p] = &declared[p];
    }
    speft_basis_options up, down;
    speft_basis_options_init(&up, sizeof up);
    up.rows = ROWS;
    up.columns = COLUMNS;
    speft_basis_options_init(&down, sizeof down);
    down.rows = COLUMNS;
    down.columns = ROWS;
    down.row_directions = life.row_directions;
    down.column_directions = life.column_directions;
    const speft_basis_options *const bases[PARAMETERS] = {&up, &up, &down, NULL};
    const int64_t kept = (down.row_directions ? down.row_directions : COLUMNS) *
                         (down.column_directions ? down.column_directions : ROWS);
    if (by_step) schedule.settled_limit = (2 * SCALARS + kept) / 20; /* as many again as a step's */

    speft_memory_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    plan.tokens = life.tokens;
    plan.bases = bases;
    CHECK_OK(speft_plan_memory(context, &options, all, PARAMETERS, &plan, &error));
    CHECK_EQUAL(meter.most, 0);

    /* ---- bases ---- */
    speft_basis *up_basis = NULL, *down_basis = NULL;
    CHECK_OK(speft_create_basis(context, &up, &up_basis, &error));
    CHECK_OK(speft_create_basis(context, &down, &down_basis, &error));
    speft_basis *const of[MATRICES] = {up_basis, up_basis, down_basis};
    struct layer layers[MATRICES];
    for (int p = 0; p < MATRICES; ++p) {
        draw(10 + (uint32_t)p);
        make_layer(&life, p, &layers[p]);
        CHECK_OK(speft_observe_basis(of[p], &layers[p].gradient, &error));
    }
    CHECK_OK(speft_fit_basis(up_basis, NULL, &error));
    CHECK_OK(speft_fit_basis(down_basis, NULL, &error));
    speft_adapter *adapter = NULL;
    CHECK_OK(speft_create_adapter(context, &options, all, PARAMETERS, &adapter, &error));
    static float weights[MATRICES][SCALARS]; /* large enough for either type */
    for (int p = 0; p < MATRICES; ++p) {
        if (life.type == SPEFT_CODE_BFLOAT)
            narrow(values, (uint16_t *)weights[p], SCALARS);
        else
            memcpy(weights[p], values, sizeof values);
        bind(adapter, p, MATRIX(weights[p], type_of(&life), p == DOWN ? COLUMNS : ROWS, p == DOWN ? ROWS : COLUMNS));
        CHECK_OK(speft_bind_basis(adapter, p, of[p], &error));
    }
    bind(adapter, MATRICES, VECTOR(head, float32, HEAD));
    CHECK_PLANNED(plan.fitting, read_most(&meter));
    speft_destroy_basis(up_basis);
    speft_destroy_basis(down_basis);
    read_most(&meter);

    /* ---- selection ---- */
    for (int batch = 0; batch < 2 && !by_step; ++batch) {
        CHECK_OK(speft_begin_observation(adapter, 1, &error));
        for (int p = 0; p < MATRICES; ++p) CHECK_OK(speft_observe(adapter, p, &layers[p].gradient, &error));
        CHECK_OK(speft_finish_observation(adapter, 0, &error));
    }
    CHECK_PLANNED(plan.announced_observation, read_most(&meter));
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_PLANNED(plan.selection, read_most(&meter));

    /* ---- training: the up-projections' gradients come last ---- */
    int64_t applying = 0, training = 0, reselecting = 0, merging = 0;
    for (uint32_t step = 0; step < STEPS; ++step) {
        draw(20 + step);
        for (int p = 0; p < MATRICES; ++p)
            CHECK_OK(speft_linear_forward(adapter, p, NULL, &layers[p].x, &layers[p].y, &error));
        for (int p = MATRICES - 1; p >= 0; --p) {
            CHECK_OK(speft_linear_backward(adapter, p, NULL, &layers[p].dy, &layers[p].dx, &error));
            note_most(&meter, &applying);
            CHECK_OK(speft_accumulate(adapter, p, &layers[p].gradient, &error));
            note_most(&meter, &training);
        }
        accumulate_dense(adapter, MATRICES, VECTOR(head, float32, HEAD));
        note_most(&meter, &training);
        CHECK_OK(speft_reselect(adapter, NULL, NULL, &error));
        note_most(&meter, &reselecting);
        CHECK_OK(speft_step(adapter, NULL, &error));
        note_most(&meter, &training);
    }
    CHECK_PLANNED(plan.products, applying);
    CHECK_PLANNED(plan.training, training);
    if (by_step)
        CHECK_PLANNED(plan.reselection, reselecting);
    else
        CHECK_EQUAL((int64_t)plan.reselection, 0);
    for (int p = 0; p < MATRICES; ++p) /* an evaluation */
        CHECK_OK(speft_linear_forward(adapter, p, NULL, &layers[p].x, &layers[p].y, &error));
    read_most(&meter);
    CHECK_OK(speft_merge(adapter, &error));
    note_most(&meter, &merging);
    CHECK_PLANNED(plan.merging, merging);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    CHECK_EQUAL(meter.now, 0);
}

/* Between them every way round: gradients and products through the bases or by way of dense matrices, for all
 * parameters or for some of them. */
static void test_a_plan_is_what_a_life_in_bases_takes(void) {
    fill(values, SCALARS, 1);
    fill(head, HEAD, 4);
    const struct life lives[] = {
        {600, 0, 0, SPEFT_SCHEDULE_DEFAULT, SPEFT_CODE_FLOAT},   /* dense */
        {100, 0, 0, SPEFT_SCHEDULE_DEFAULT, SPEFT_CODE_FLOAT},   /* through the bases */
        {100, 40, 60, SPEFT_SCHEDULE_DEFAULT, SPEFT_CODE_FLOAT}, /* rows first, and columns first */
        {400, 20, 300, SPEFT_SCHEDULE_DEFAULT, SPEFT_CODE_FLOAT}, /* gradients of both kinds */
        {600, 0, 0, SPEFT_SCHEDULE_DEFAULT, SPEFT_CODE_BFLOAT},
        {100, 0, 0, SPEFT_SCHEDULE_NONE, SPEFT_CODE_FLOAT},
        {600, 40, 60, SPEFT_SCHEDULE_NONE, SPEFT_CODE_FLOAT},
    };
    for (int64_t i = 0; i < COUNT_OF(lives); ++i) live(lives[i]);
}

static void test_bases_that_fit_no_adapter(void) {
    speft_context *const context = create_context();
    speft_selection_options selection = choose(SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    speft_parameter parameters[2] = {DECLARE_MATRIX("w", 4, 6), DECLARE_MATRIX("head", 4, 6)};
    parameters[1].role = SPEFT_ROLE_DENSE;
    const speft_parameter *const all[] = {&parameters[0], &parameters[1]};
    speft_basis_options basis;
    speft_basis_options_init(&basis, sizeof basis);
    basis.rows = 4;
    basis.columns = 6;
    const speft_basis_options *bases[] = {&basis, NULL};
    speft_memory_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
#define CHECK_NO_PLAN(text)                      \
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, text, speft_plan_memory(context, &options, all, 2, &plan, &error))
    CHECK_NO_PLAN("'w'"); /* without a basis */
    plan.bases = bases;
    CHECK_OK(speft_plan_memory(context, &options, all, 2, &plan, &error));
    CHECK(plan.bases == bases && plan.fitting > 0);
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    plan.bases = bases;
    basis.rows = 6;
    CHECK_NO_PLAN("has shape [4, 6]");
    basis.rows = 4;
    basis.row_directions = 5;
    CHECK_NO_PLAN("bases[0]: row_directions");
    basis.row_directions = basis.column_directions = 1; /* fewer scalars than the budget */
    selection.density = 0;
    selection.budget = 2;
    CHECK_NO_PLAN("budget");
    selection.budget = 1;
    bases[1] = &basis;
    CHECK_NO_PLAN("'head' is a dense parameter");
    bases[1] = NULL;
    selection.method = SPEFT_SELECT_MEPROP;
    CHECK_NO_PLAN("sparsegrad");
#undef CHECK_NO_PLAN
    CHECK_EQUAL((int64_t)plan.fitting, 0);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_a_plan_is_what_a_life_in_bases_takes);
    RUN(test_bases_that_fit_no_adapter);
    return check_result();
}
