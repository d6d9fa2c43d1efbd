/* The plan of an adapter's memory against what its life then takes from the host's allocator. */
#include "meter.h"
#include "numbers.h"

enum { ROWS = 300, COLUMNS = 500, HEAD = 700, SCALARS = ROWS * COLUMNS, TOKENS = 600 };

struct life {
    int32_t method, scope, optimizer, age, delta_type;
    speft_dtype type;
    double density;
    int announced;
    int32_t state;
    int64_t reselect_every, window, settled_limit; /* of masks that move; 0: they stay */
    int quantized;
};

static float values[SCALARS], x[TOKENS * COLUMNS], dy[TOKENS * ROWS], head[HEAD];
static uint16_t narrow_values[SCALARS], narrow_x[TOKENS * COLUMNS], narrow_dy[TOKENS * ROWS];

/* The first parameter's weights, as they are or as codes. */
static void bind_first(const struct life *life, speft_context *context, speft_adapter *adapter) {
    const int narrow = life->type.bits == 16;
    const speft_tensor *const dense =
        MATRIX(narrow ? (void *)narrow_values : (void *)values, life->type, ROWS, COLUMNS);
    if (!life->quantized) {
        bind(adapter, 0, dense);
        return;
    }
    static uint8_t codes[SCALARS / 2];
    static float absmax[(SCALARS + 63) / 64];
    const speft_tensor *const code_view = VECTOR(codes, ((speft_dtype){SPEFT_CODE_UINT, 8, 1}), COUNT_OF(codes));
    const speft_quantization quantization = {.struct_size = sizeof quantization,
                                             .block = 64,
                                             .absmax = VECTOR(absmax, float32, COUNT_OF(absmax))};
    const speft_weights weights = {sizeof weights, SPEFT_WEIGHTS_NF4, code_view, &quantization};
    CHECK_OK(speft_quantize(context, dense, &weights, &error));
    CHECK_OK(speft_bind_weights(adapter, 0, &weights, &error));
}

static void narrow_all(const float *source, uint16_t *target, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
        target[i] = encode_narrow(round_narrow(source[i], narrow_bfloat16), narrow_bfloat16);
}

static speft_gradient give_activations(const struct life *life) {
    const int narrow = life->type.bits == 16;
    static speft_tensor x_view, dy_view;
    static const int64_t x_shape[2] = {TOKENS, COLUMNS}, dy_shape[2] = {TOKENS, ROWS};
    x_view = view(narrow ? (void *)narrow_x : (void *)x, life->type, 2, x_shape);
    dy_view = view(narrow ? (void *)narrow_dy : (void *)dy, life->type, 2, dy_shape);
    return activations_gradient(&x_view, &dy_view, SPEFT_LAYOUT_OUT_IN);
}

static void live(const struct life life) {
    struct meter meter = {0, 0};
    speft_context *const context = create_metered_context(&meter);

    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.reselect_every = life.reselect_every;
    schedule.window = life.window;
    schedule.settled_limit = life.settled_limit;
    speft_selection_options selection = choose(life.method, life.scope, life.density, 0);
    selection.schedule = &schedule;
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = life.optimizer;
    optimizer.age = life.age;
    optimizer.state = life.state;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    options.optimizer = &optimizer;
    options.delta_type = life.delta_type;
    speft_parameter parameters[2] = {DECLARE_MATRIX("w", ROWS, COLUMNS), DECLARE_VECTOR("head", HEAD)};
    parameters[0].dtype = life.type;
    parameters[1].role = SPEFT_ROLE_DENSE;
    const speft_parameter *const all[] = {&parameters[0], &parameters[1]};

    speft_memory_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    plan.tokens = TOKENS;
    CHECK_OK(speft_plan_memory(context, &options, all, 2, &plan, &error));
    CHECK_EQUAL(meter.most, 0);

    speft_adapter *adapter = NULL;
    CHECK_OK(speft_create_adapter(context, &options, all, 2, &adapter, &error));
    bind_first(&life, context, adapter);
    bind(adapter, 1, VECTOR(head, float32, HEAD));
    if (life.method == SPEFT_SELECT_WEIGHT_CHANGE)
        CHECK_OK(speft_set_reference(adapter, 0, MATRIX(values, float32, ROWS, COLUMNS), &error));
    speft_gradient gradient = give_activations(&life);
    static const int64_t examples[] = {0, TOKENS / 3, TOKENS};
    const speft_tensor *const offsets = VECTOR(examples, int64, COUNT_OF(examples));
    if (life.method == SPEFT_SELECT_FISHER) gradient.example_offsets = offsets;
    for (int batch = 0; batch < 2; ++batch) {
        if (life.announced) CHECK_OK(speft_begin_observation(adapter, 1, &error));
        CHECK_OK(speft_observe(adapter, 0, &gradient, &error));
        CHECK_OK(speft_finish_observation(adapter, life.announced ? 0 : 1, &error));
    }
    const int64_t observing = read_most(&meter);
    if (observing > 0 && plan.observation > 0)
        CHECK_PLANNED(life.announced ? plan.announced_observation : plan.observation, observing);

    CHECK_OK(speft_select(adapter, NULL, &error));
    const int64_t selecting = read_most(&meter);
    if (life.announced && !life.quantized) CHECK_PLANNED(plan.selection, selecting);

    gradient.example_offsets = NULL;
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.momentum = life.optimizer == SPEFT_OPTIMIZER_SGD ? 0.9 : 0;
    const speft_hyperparameters *const groups[] = {&hyperparameters};
    speft_step_options step;
    speft_step_options_init(&step, sizeof step);
    step.groups = groups;
    step.group_count = 1;
    int64_t training = 0, reselecting = 0;
    for (int i = 0; i < (life.reselect_every ? 7 : 2); ++i) {
        CHECK_OK(speft_accumulate(adapter, 0, &gradient, &error));
        accumulate_dense(adapter, 1, VECTOR(head, float32, HEAD));
        CHECK_OK(speft_step(adapter, &step, &error));
        note_most(&meter, &training);
        if (!read_state(adapter).reselection_due) continue;
        for (int batch = 0; batch < 2; ++batch) { /* another gradient each time, and so other masks */
            static float other[SCALARS];
            fill(other, SCALARS, 10 + (uint32_t)i);
            observe_dense(adapter, 0, MATRIX(other, float32, ROWS, COLUMNS));
            CHECK_OK(speft_finish_observation(adapter, 1, &error));
        }
        CHECK_OK(speft_reselect(adapter, NULL, NULL, &error));
        note_most(&meter, &reselecting);
    }
    CHECK_PLANNED(plan.training, training);
    if (reselecting > 0 && !life.quantized) CHECK_PLANNED(plan.reselection, reselecting);
    CHECK(meter.now <= (int64_t)plan.training);
    CHECK_EQUAL((int64_t)plan.fitting + (int64_t)plan.merging, 0);
    if (!life.reselect_every && !life.quantized) { /* nothing is left of other calls but scratch */
        static float y[TOKENS * ROWS], dx[TOKENS * COLUMNS];
        const speft_tensor outputs = view(y, life.type, 2, gradient.dy->shape);
        const speft_tensor dinputs = view(dx, life.type, 2, gradient.x->shape);
        CHECK_OK(speft_unmerge(adapter, &error));
        CHECK_OK(speft_linear_forward(adapter, 0, NULL, gradient.x, &outputs, &error));
        CHECK_OK(speft_linear_backward(adapter, 0, NULL, gradient.dy, &dinputs, &error));
        CHECK_PLANNED(plan.products, read_most(&meter));
    }
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    CHECK_EQUAL(meter.now, 0);
}

/* Masks that grow by each step's gradient: at their largest after some steps. */
static void live_by_step(int64_t settled_limit, int32_t scope) {
    struct meter meter = {0, 0};
    speft_context *const context = create_metered_context(&meter);
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.settled_limit = settled_limit;
    speft_selection_options selection = choose(SPEFT_SELECT_MEPROP, scope, 0.05, 0);
    selection.schedule = &schedule;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    const speft_parameter parameter = DECLARE_MATRIX("w", ROWS, COLUMNS);
    const speft_parameter *const all[] = {&parameter};
    speft_memory_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    plan.tokens = TOKENS;
    CHECK_OK(speft_plan_memory(context, &options, all, 1, &plan, &error));
    speft_adapter *adapter = NULL;
    CHECK_OK(speft_create_adapter(context, &options, all, 1, &adapter, &error));
    bind(adapter, 0, MATRIX(values, float32, ROWS, COLUMNS));
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_most(&meter), (int64_t)plan.selection); /* no mask yet */
    int64_t training = 0, reselecting = 0;
    for (uint32_t i = 0; i < 5; ++i) {
        fill(x, TOKENS * COLUMNS, 20 + i);
        fill(dy, TOKENS * ROWS, 30 + i);
        const speft_gradient gradient = activations_gradient(
            MATRIX(x, float32, TOKENS, COLUMNS), MATRIX(dy, float32, TOKENS, ROWS), SPEFT_LAYOUT_OUT_IN);
        read_most(&meter);
        CHECK_OK(speft_accumulate(adapter, 0, &gradient, &error));
        note_most(&meter, &training);
        CHECK_OK(speft_reselect(adapter, NULL, NULL, &error));
        note_most(&meter, &reselecting);
        CHECK_OK(speft_step(adapter, NULL, &error));
    }
    CHECK_PLANNED(plan.training, training);
    CHECK_PLANNED(plan.reselection, reselecting);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    CHECK_EQUAL(meter.now, 0);
}

static void test_a_plan_of_masks_that_grow(void) {
    live_by_step(7500, SPEFT_SCOPE_PER_TENSOR);
    live_by_step(15000, SPEFT_SCOPE_GLOBAL);
}

static void test_a_plan_is_what_a_life_takes(void) {
    fill(values, SCALARS, 1);
    fill(x, TOKENS * COLUMNS, 2);
    fill(dy, TOKENS * ROWS, 3);
    fill(head, HEAD, 4);
    narrow_all(values, narrow_values, SCALARS);
    narrow_all(x, narrow_x, TOKENS * COLUMNS);
    narrow_all(dy, narrow_dy, TOKENS * ROWS);
    const struct life usual = {SPEFT_SELECT_SNIP,    SPEFT_SCOPE_GLOBAL,  SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON,
                               SPEFT_DELTA_FLOAT32, {SPEFT_CODE_FLOAT, 32, 1}, 0.05,              1,
                               SPEFT_STATE_FLOAT32,  0,                   0,                     0, 0};
    live(usual);
    struct life other = usual;
    other.announced = 0;
    live(other);
    other = usual;
    other.type = bfloat16;
    other.delta_type = SPEFT_DELTA_BFLOAT16;
    other.age = SPEFT_AGE_PER_WEIGHT;
    live(other);
    other = usual;
    other.method = SPEFT_SELECT_MAGNITUDE;
    other.scope = SPEFT_SCOPE_PER_ROW;
    other.density = 0.2;
    live(other);
    other = usual;
    other.method = SPEFT_SELECT_RANDOM;
    other.optimizer = SPEFT_OPTIMIZER_SGD;
    other.density = 0.3;
    live(other);
    other.scope = SPEFT_SCOPE_PER_TENSOR;
    live(other);
    static const int32_t saliences[] = {
        SPEFT_SELECT_GRADIENT, SPEFT_SELECT_FORCE,    SPEFT_SELECT_TAYLOR_FO, SPEFT_SELECT_FISHER,
        SPEFT_SELECT_SYNFLOW,  SPEFT_SELECT_GRASP,    SPEFT_SELECT_WANDA,     SPEFT_SELECT_LOW_RANK,
        SPEFT_SELECT_WEIGHT_CHANGE, SPEFT_SELECT_SMALLEST_MAGNITUDE,
    };
    for (int64_t i = 0; i < COUNT_OF(saliences); ++i) {
        other = usual;
        other.method = saliences[i];
        live(other);
        other.announced = 0;
        live(other);
    }
    other = usual;
    other.method = SPEFT_SELECT_RANDOM;
    other.density = 0.3;
    static const int32_t kinds[] = {SPEFT_OPTIMIZER_ADAM, SPEFT_OPTIMIZER_LION, SPEFT_OPTIMIZER_SM3,
                                    SPEFT_OPTIMIZER_ADAFACTOR};
    for (int64_t i = 0; i < COUNT_OF(kinds); ++i)
        for (other.state = SPEFT_STATE_FLOAT32; other.state <= SPEFT_STATE_BLOCKS8; ++other.state) {
            other.optimizer = kinds[i];
            live(other);
        }

    struct life moving = usual;
    moving.reselect_every = 3;
    moving.window = 2;
    moving.method = SPEFT_SELECT_SPIEL_AG;
    live(moving);
    moving.scope = SPEFT_SCOPE_PER_TENSOR;
    moving.type = bfloat16;
    moving.density = 0.2;
    live(moving);
    moving.method = SPEFT_SELECT_SPIEL_MA;
    moving.optimizer = SPEFT_OPTIMIZER_SM3;
    live(moving);
    moving = usual;
    moving.reselect_every = 2;
    moving.announced = 0;
    moving.settled_limit = 7000;
    live(moving);
    moving.method = SPEFT_SELECT_RANDOM;
    live(moving);

    struct life quantized = usual;
    quantized.quantized = 1;
    live(quantized);
    quantized.type = bfloat16;
    live(quantized);
    moving = usual;
    moving.quantized = 1;
    moving.reselect_every = 3;
    moving.window = 2;
    moving.method = SPEFT_SELECT_SPIEL_AG;
    live(moving);
}

static void test_what_cannot_be_planned(void) {
    speft_context *context = create_context();
    speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    const speft_parameter parameter = DECLARE_VECTOR("w", 4);
    const speft_parameter *const all[] = {&parameter};
    speft_memory_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.struct_size = sizeof plan;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_plan_memory(NULL, &options, all, 1, &plan, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameters", speft_plan_memory(context, &options, NULL, 1, &plan, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "plan", speft_plan_memory(context, &options, all, 1, NULL, &error));
    plan.tokens = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "tokens", speft_plan_memory(context, &options, all, 1, &plan, &error));
    plan.tokens = 0;
    selection.density = 2;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "density", speft_plan_memory(context, &options, all, 1, &plan, &error));
    selection = choose(SPEFT_SELECT_GIVEN_MASK, SPEFT_SCOPE_GLOBAL, 0, 0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "given masks", speft_plan_memory(context, &options, all, 1, &plan, &error));
    CHECK_EQUAL((int64_t)plan.training, 0);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_a_plan_is_what_a_life_takes);
    RUN(test_a_plan_of_masks_that_grow);
    RUN(test_what_cannot_be_planned);
    return check_result();
}
