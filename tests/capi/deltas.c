/* How deltas are kept and moved: SGD with momentum, bfloat16 deltas, and what rounding to the weight's type loses. */
#include "host.h"
#include "numbers.h"

enum { COUNT = 40 };

static const int64_t shape[1] = {COUNT};

struct line {
    speft_context *context;
    speft_adapter *adapter;
    float weights[COUNT];
    float gradient[COUNT];
};

/* One float32 parameter, every scalar of it selected. */
static void start(struct line *line, int32_t optimizer, int32_t delta_type) {
    line->context = create_context();
    speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 1, 0);
    speft_optimizer_options kind;
    speft_optimizer_options_init(&kind, sizeof kind);
    kind.kind = optimizer;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    options.optimizer = &kind;
    options.delta_type = delta_type;
    const speft_parameter parameter = declare("w", 1, shape);
    const speft_parameter *const all[] = {&parameter};
    CHECK_OK(speft_create_adapter(line->context, &options, all, 1, &line->adapter, &error));
    fill(line->weights, COUNT, 1);
    fill(line->gradient, COUNT, 2);
    bind(line->adapter, 0, VECTOR(line->weights, float32, COUNT));
    CHECK_OK(speft_select(line->adapter, NULL, &error));
}

static void finish(struct line *line) {
    speft_destroy_adapter(line->adapter);
    speft_destroy_context(line->context);
}

static void step(struct line *line, const speft_hyperparameters *hyperparameters) {
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    const speft_hyperparameters *const groups[] = {hyperparameters};
    options.groups = groups;
    options.group_count = 1;
    accumulate_dense(line->adapter, 0, VECTOR(line->gradient, float32, COUNT));
    CHECK_OK(speft_step(line->adapter, &options, &error));
}

/* optimizer.h, line by line. */
static void check_sgd(double momentum, double weight_decay, int32_t decay) {
    struct line line;
    start(&line, SPEFT_OPTIMIZER_SGD, SPEFT_DELTA_FLOAT32);
    float original[COUNT], delta[COUNT] = {0}, velocity[COUNT] = {0};
    memcpy(original, line.weights, sizeof original);
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.learning_rate = 0.1;
    hyperparameters.momentum = momentum;
    hyperparameters.weight_decay = weight_decay;
    hyperparameters.decay = decay;
    for (int round = 0; round < 3; ++round) {
        step(&line, &hyperparameters);
        for (int i = 0; i < COUNT; ++i) {
            const float weight = original[i] + delta[i];
            const float pulled = decay == SPEFT_DECAY_TO_ZERO ? weight : delta[i];
            const float decayed = (float)weight_decay * pulled;
            float change = line.gradient[i] + decayed;
            if (momentum > 0) {
                const float kept = (float)momentum * velocity[i];
                change = velocity[i] = kept + change;
            }
            const float moved = 0.1f * change;
            delta[i] -= moved;
        }
    }
    CHECK_BYTES(lend_deltas(line.adapter, 0), delta, sizeof delta);
    for (int i = 0; i < COUNT; ++i) CHECK(line.weights[i] == original[i] + delta[i]);
    finish(&line);
}

static void test_sgd_to_the_bit(void) {
    check_sgd(0, 0, SPEFT_DECAY_TO_ORIGINAL);
    check_sgd(0.9, 0, SPEFT_DECAY_TO_ORIGINAL);
    check_sgd(0.9, 0.01, SPEFT_DECAY_TO_ORIGINAL);
    check_sgd(0.5, 0.01, SPEFT_DECAY_TO_ZERO);
}

static void test_a_momentum_without_a_meaning(void) {
    struct line line;
    start(&line, SPEFT_OPTIMIZER_SGD, SPEFT_DELTA_FLOAT32);
    accumulate_dense(line.adapter, 0, VECTOR(line.gradient, float32, COUNT));
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    const speft_hyperparameters *const groups[] = {&hyperparameters};
    options.groups = groups;
    options.group_count = 1;
    const double bad[] = {-0.1, 1, NAN};
    for (int i = 0; i < 3; ++i) {
        hyperparameters.momentum = bad[i];
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "momentum", speft_step(line.adapter, &options, &error));
    }
    CHECK_EQUAL(read_state(line.adapter).steps, 0);
    finish(&line);
}

/* ---- bfloat16 ---- */

static const uint16_t *lend_narrow_deltas(struct line *line) {
    speft_tensor deltas;
    CHECK_OK(speft_get_deltas(line->adapter, 0, &deltas, &error));
    CHECK_EQUAL(deltas.dtype.code, SPEFT_CODE_BFLOAT);
    CHECK_EQUAL(deltas.dtype.bits, 16);
    return deltas.data;
}

static void test_bfloat16_deltas_are_what_the_weights_hold(void) {
    struct line line;
    start(&line, SPEFT_OPTIMIZER_ADAMW, SPEFT_DELTA_BFLOAT16);
    float original[COUNT], trained[COUNT];
    memcpy(original, line.weights, sizeof original);
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    for (int round = 0; round < 5; ++round) {
        step(&line, &hyperparameters);
        const uint16_t *deltas = lend_narrow_deltas(&line);
        for (int i = 0; i < COUNT; ++i)
            CHECK(line.weights[i] == original[i] + (float)decode_narrow(deltas[i], narrow_bfloat16));
    }
    memcpy(trained, line.weights, sizeof trained);
    CHECK_OK(speft_unmerge(line.adapter, &error));
    CHECK_BYTES(line.weights, original, sizeof original);
    CHECK_OK(speft_merge(line.adapter, &error));
    CHECK_BYTES(line.weights, trained, sizeof trained);
    finish(&line);
}

/* Steps of 2^-10 from a δ of 1, where bfloat16's values lie 2^-7 apart: rounded to nearest, none would ever count. */
static void test_updates_below_half_a_unit_are_kept_on_average(void) {
    enum { STEPS = 64 };
    struct line line;
    start(&line, SPEFT_OPTIMIZER_SGD, SPEFT_DELTA_BFLOAT16);
    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    hyperparameters.learning_rate = 1;
    for (int i = 0; i < COUNT; ++i) line.gradient[i] = -1;
    step(&line, &hyperparameters);
    for (int i = 0; i < COUNT; ++i) line.gradient[i] = -0x1p-10f;
    for (int round = 0; round < STEPS; ++round) step(&line, &hyperparameters);
    const uint16_t *deltas = lend_narrow_deltas(&line);
    double mean = 0;
    for (int i = 0; i < COUNT; ++i) mean += decode_narrow(deltas[i], narrow_bfloat16) / COUNT;
    /* A step adds 2^-7 with probability 1/8: over 64·40 of them the mean's standard deviation is
     * 2^-7·√(64·(1/8)·(7/8)/40) = 0.0033. Four of them are allowed. */
    CHECK(fabs(mean - (1 + STEPS * 0x1p-10)) < 4 * 0.0033);
    finish(&line);
}

static void test_the_same_steps_round_the_same_way(void) {
    uint16_t first[COUNT];
    for (int run = 0; run < 2; ++run) {
        struct line line;
        start(&line, SPEFT_OPTIMIZER_ADAMW, SPEFT_DELTA_BFLOAT16);
        speft_hyperparameters hyperparameters;
        speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
        for (int round = 0; round < 7; ++round) step(&line, &hyperparameters);
        if (run == 0)
            memcpy(first, lend_narrow_deltas(&line), sizeof first);
        else
            CHECK_BYTES(lend_narrow_deltas(&line), first, sizeof first);
        finish(&line);
    }
}

/* ---- what rounding loses ---- */

static double measure_loss(speft_adapter *adapter, int64_t parameter) {
    double share = -1;
    CHECK_OK(speft_measure_rounding_loss(adapter, parameter, &share, &error));
    return share;
}

static void test_the_share_that_rounding_loses(void) {
    speft_context *context = create_context();
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 1, 0);
    speft_parameter parameters[2] = {declare("w", 1, shape), declare("head", 1, shape)};
    parameters[0].dtype = bfloat16;
    parameters[1].role = SPEFT_ROLE_DENSE;
    speft_adapter *adapter = create_adapter(context, &selection, parameters, 2);
    uint16_t weights[COUNT];
    float head[COUNT], gradient[COUNT], original[COUNT];
    fill(original, COUNT, 3);
    fill(head, COUNT, 4);
    fill(gradient, COUNT, 5);
    for (int i = 0; i < COUNT; ++i) {
        weights[i] = encode_narrow(round_narrow(original[i], narrow_bfloat16), narrow_bfloat16);
        original[i] = (float)decode_narrow(weights[i], narrow_bfloat16);
    }
    bind(adapter, 0, VECTOR(weights, bfloat16, COUNT));
    bind(adapter, 1, VECTOR(head, float32, COUNT));
    double share = -1;
    CHECK_FAILS(SPEFT_INVALID_STATE, "select", speft_measure_rounding_loss(adapter, 0, &share, &error));
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK(measure_loss(adapter, -1) == 0); /* no δ, no loss */
    accumulate_dense(adapter, 0, VECTOR(gradient, float32, COUNT));
    accumulate_dense(adapter, 1, VECTOR(gradient, float32, COUNT));
    CHECK_OK(speft_step(adapter, NULL, &error));

    const float *deltas = lend_deltas(adapter, 0);
    double lost = 0, total = 0;
    for (int i = 0; i < COUNT; ++i) {
        lost += fabs((double)deltas[i] - (decode_narrow(weights[i], narrow_bfloat16) - original[i]));
        total += fabs((double)deltas[i]);
    }
    /* Sums of 40 float64 in another order. */
    CHECK(fabs(measure_loss(adapter, 0) - lost / total) < 1e-14);
    CHECK(lost > 0);
    CHECK(measure_loss(adapter, -1) == measure_loss(adapter, 0));

    share = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "'head'", speft_measure_rounding_loss(adapter, 1, &share, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "parameter", speft_measure_rounding_loss(adapter, 2, &share, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "share", speft_measure_rounding_loss(adapter, 0, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_measure_rounding_loss(NULL, 0, &share, &error));
    CHECK(share == -1);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_sgd_to_the_bit);
    RUN(test_a_momentum_without_a_meaning);
    RUN(test_bfloat16_deltas_are_what_the_weights_hold);
    RUN(test_updates_below_half_a_unit_are_kept_on_average);
    RUN(test_the_same_steps_round_the_same_way);
    RUN(test_the_share_that_rounding_loses);
    return check_result();
}
