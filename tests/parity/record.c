/* record FOLDER [THREADS]    makes the parity cases: what the C ABI does, for every other language to do as well.
 *
 * A case is a line of the table below, played as a whole life. All arrays are made here, so that nothing is kept in the
 * repository; the answers are those of this library through C, whose own tests compare them with independent truth. */
#include "recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct scalar_type types[] = {
    {"float32", {SPEFT_CODE_FLOAT, 32, 1}},
    {"bfloat16", {SPEFT_CODE_BFLOAT, 16, 1}},
    {"float16", {SPEFT_CODE_FLOAT, 16, 1}},
};
enum { FLOAT32, BFLOAT16, FLOAT16 };

struct scenario {
    const char *name;
    int type;
    speft_selection_options selection;
    speft_schedule_options schedule; /* all zero: masks stay */
    speft_optimizer_options optimizer;
    int32_t delta_type;
    int observations;
    enum gradient_form observed;
    int announced;
    double weight_decay;
    int32_t decay;
    double momentum;
    int32_t format;
    int32_t weights; /* SPEFT_WEIGHTS_… of the sparse parameters */
};

#define GLOBAL .scope = SPEFT_SCOPE_GLOBAL
#define PER_TENSOR .scope = SPEFT_SCOPE_PER_TENSOR
#define PER_ROW .scope = SPEFT_SCOPE_PER_ROW
#define METHOD(name) .method = SPEFT_SELECT_##name
#define KIND(name) .kind = SPEFT_OPTIMIZER_##name
#define OBSERVED(count, form) .observations = count, .observed = form

static const struct scenario scenarios[] = {
    {"random", FLOAT32, {METHOD(RANDOM), GLOBAL, .density = 0.05, .seed = 7}, .optimizer = {KIND(ADAMW)}},
    {"random-bernoulli", BFLOAT16,
     {METHOD(RANDOM), GLOBAL, .random = SPEFT_RANDOM_BERNOULLI, .density = 0.1, .seed = 8},
     .optimizer = {KIND(ADAMW)}, .weight_decay = 0.1, .format = SPEFT_FORMAT_COMPACT},
    {"magnitude", FLOAT16, {METHOD(MAGNITUDE), PER_TENSOR, .budget = 11}, .optimizer = {KIND(SGD)}, .momentum = 0.9},
    {"smallest-magnitude", FLOAT32, {METHOD(SMALLEST_MAGNITUDE), GLOBAL, .rank = 1}, .optimizer = {KIND(LION)},
     .weight_decay = 0.1, .decay = SPEFT_DECAY_TO_ZERO},
    {"gradient", FLOAT32, {METHOD(GRADIENT), PER_ROW, .budget = 2}, .optimizer = {KIND(ADAMW)}, OBSERVED(2, DENSE)},
    {"gradient-absolute", BFLOAT16, {METHOD(GRADIENT), GLOBAL, .density = 0.07, .mean = SPEFT_MEAN_OF_ABSOLUTES},
     .optimizer = {KIND(ADAM), .state = SPEFT_STATE_BFLOAT16}, OBSERVED(3, DENSE), .announced = 1,
     .weight_decay = 0.01},
    {"snip", BFLOAT16, {METHOD(SNIP), GLOBAL, .density = 0.05},
     .optimizer = {KIND(ADAMW), .state = SPEFT_STATE_BLOCKS8}, OBSERVED(2, ACTIVATIONS)},
    {"force", FLOAT32, {METHOD(FORCE), GLOBAL, .density = 0.05, .model_scalars = 800},
     .optimizer = {KIND(ADAMW), .age = SPEFT_AGE_PER_WEIGHT}, OBSERVED(1, DENSE)},
    {"taylor-fo", FLOAT16, {METHOD(TAYLOR_FO), PER_TENSOR, .density = 0.05}, .optimizer = {KIND(ADAFACTOR)},
     OBSERVED(1, DENSE)},
    {"fisher", FLOAT32, {METHOD(FISHER), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)}, OBSERVED(2, EXAMPLES)},
    {"synflow", FLOAT32, {METHOD(SYNFLOW), GLOBAL, .density = 0.05}, .optimizer = {KIND(SM3)}, OBSERVED(1, DENSE)},
    {"grasp", FLOAT32, {METHOD(GRASP), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)}, OBSERVED(1, DENSE)},
    {"grasp-code", FLOAT32, {METHOD(GRASP_CODE), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)},
     .delta_type = SPEFT_DELTA_BFLOAT16, OBSERVED(1, DENSE)},
    {"weight-change", BFLOAT16, {METHOD(WEIGHT_CHANGE), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)}},
    {"low-rank", FLOAT32, {METHOD(LOW_RANK), GLOBAL, .density = 0.05, .approximation_rank = 3},
     .optimizer = {KIND(ADAMW)}},
    {"wanda", FLOAT32, {METHOD(WANDA), PER_ROW, .budget = 1}, .optimizer = {KIND(ADAMW)}, OBSERVED(2, ACTIVATIONS)},
    {"mask", FLOAT32, {METHOD(GIVEN_MASK), GLOBAL}, .optimizer = {KIND(ADAMW)}},
    {"scores", FLOAT32, {METHOD(GIVEN_SCORES), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)}},
    {"dynamic-random", FLOAT32, {METHOD(RANDOM), GLOBAL, .density = 0.05, .seed = 3},
     .schedule = {.reselect_every = 2, .keep_moments = 1, .track_moves = 1}, .optimizer = {KIND(ADAMW)}},
    {"dynamic-gradient", BFLOAT16, {METHOD(GRADIENT), GLOBAL, .density = 0.05},
     .schedule = {.reselect_every = 2, .settled_limit = 10, .track_moves = 1}, .optimizer = {KIND(ADAMW)},
     OBSERVED(1, DENSE)},
    {"spiel-ag", FLOAT32, {METHOD(SPIEL_AG), PER_TENSOR, .density = 0.05, .seed = 5},
     .schedule = {.total_steps = 12, .reselect_every = 3, .window = 2, .rate = 0.5, .candidates = 60, .track_moves = 1},
     .optimizer = {KIND(ADAMW)}},
    {"spiel-ag-change", BFLOAT16, {METHOD(SPIEL_AG), GLOBAL, .density = 0.05, .seed = 6},
     .schedule = {.schedule = SPEFT_SCHEDULE_COSINE, .total_steps = 12, .reselect_every = 2, .window = 1, .rate = 0.5,
                  .drop = SPEFT_DROP_CHANGE, .track_moves = 1},
     .optimizer = {KIND(ADAMW)}, .weight_decay = 0.1, .decay = SPEFT_DECAY_AFTER_UPDATE},
    {"spiel-ma", FLOAT32, {METHOD(SPIEL_MA), PER_TENSOR, .density = 0.05, .seed = 5},
     .schedule = {.schedule = SPEFT_SCHEDULE_CONSTANT, .reselect_every = 2, .window = 2, .rate = 0.3, .track_moves = 1},
     .optimizer = {KIND(SM3)}},
    {"meprop", BFLOAT16, {METHOD(MEPROP), GLOBAL, .density = 0.05},
     .schedule = {.reselect_every = 1, .settled_limit = 30, .track_moves = 1}, .optimizer = {KIND(ADAMW)},
     .weight_decay = 0.1},
    {"meprop-threshold", FLOAT32, {METHOD(MEPROP), PER_TENSOR, .budget = 12, .threshold = 0.99},
     .schedule = {.reselect_every = 1, .track_moves = 1}, .optimizer = {KIND(ADAM)}},
    {"sparsegrad", FLOAT32, {METHOD(SPARSEGRAD), PER_TENSOR, .budget = 6},
     .schedule = {.reselect_every = 1, .track_moves = 1}, .optimizer = {KIND(ADAM)}, .format = SPEFT_FORMAT_COMPACT},
    {"quantized", BFLOAT16, {METHOD(SNIP), GLOBAL, .density = 0.05}, .optimizer = {KIND(ADAMW)},
     OBSERVED(2, ACTIVATIONS), .weight_decay = 0.1, .weights = SPEFT_WEIGHTS_NF4},
    {"quantized-int8", FLOAT32, {METHOD(RANDOM), PER_TENSOR, .density = 0.05, .seed = 9},
     .schedule = {.reselect_every = 2, .track_moves = 1}, .optimizer = {KIND(ADAMW)}, .format = SPEFT_FORMAT_COMPACT,
     .weights = SPEFT_WEIGHTS_INT8},
};

static int moves(const struct scenario *scenario) { return scenario->schedule.reselect_every > 0; }

static int has_bases(const struct scenario *scenario) { return scenario->selection.method == SPEFT_SELECT_SPARSEGRAD; }

/* Its sparse parameters do: those in a basis, and quantized ones. */
static int trains_beside_weights(const struct scenario *scenario) {
    return has_bases(scenario) || scenario->weights != SPEFT_WEIGHTS_DENSE;
}

/* Between a step's gradient and the step. */
static int moves_by_step(const struct scenario *scenario) {
    return has_bases(scenario) || scenario->selection.method == SPEFT_SELECT_MEPROP;
}

static void train(struct recorder *recorder, const struct scenario *scenario) {
    /* What a mask has of a gradient is no gradient of SpIEL-AG's candidates, nor one to select by. */
    const int takes_values = scenario->selection.method != SPEFT_SELECT_SPIEL_AG && !moves_by_step(scenario);
    speft_hyperparameters all;
    speft_hyperparameters_init(&all, sizeof all);
    all.learning_rate = 0.01;
    all.weight_decay = scenario->weight_decay;
    all.decay = scenario->decay;
    all.momentum = scenario->momentum;
    for (uint32_t t = 1; t <= 6; ++t) {
        const enum gradient_form form = t % 3 == 1 ? DENSE : t % 3 == 2 ? ACTIVATIONS : takes_values ? VALUES : DENSE;
        accumulate_all(recorder, form, 100 + 10 * t);
        if (t == 2) accumulate_all(recorder, DENSE, 300);
        if (moves_by_step(scenario)) {
            reselect(recorder, scenario->schedule.track_moves);
            expect_masks(recorder);
        }
        if (t == 2) {
            clip(recorder, 1.0);
            expect_gradients(recorder);
        }
        step(recorder, &all);
        expect_values(recorder);
        if (moves(scenario) && !moves_by_step(scenario)) {
            if (scenario->observations && t % (uint32_t)scenario->schedule.reselect_every == 0)
                observe_batch(recorder, scenario->observed, 1, scenario->announced, 500 + t);
            reselect(recorder, scenario->schedule.track_moves);
            expect_masks(recorder);
        }
        if (t == 4) {
            resume(recorder);
            if (trains_beside_weights(scenario)) attach(recorder);
        }
    }
}

static void play(const struct scenario *scenario, const char *folder, int threads) {
    struct recorder recorder;
    speft_schedule_options schedule = scenario->schedule;
    speft_selection_options selection = scenario->selection;
    speft_optimizer_options optimizer = scenario->optimizer;
    selection.struct_size = sizeof selection;
    schedule.struct_size = sizeof schedule;
    optimizer.struct_size = sizeof optimizer;
    if (moves(scenario)) selection.schedule = &schedule;
    start_recording(&recorder, folder, threads, &types[scenario->type], scenario->weights);
    create(&recorder, &selection, &optimizer, scenario->delta_type);
    bind_all(&recorder, 1);
    if (has_bases(scenario)) bind_bases(&recorder);
    if (selection.method == SPEFT_SELECT_GIVEN_MASK) set_masks(&recorder, 20);
    if (selection.method == SPEFT_SELECT_GIVEN_SCORES) set_scores(&recorder, 30);
    if (selection.method == SPEFT_SELECT_WEIGHT_CHANGE) set_references(&recorder, 40);
    for (int batch = 0; batch < scenario->observations; ++batch)
        observe_batch(&recorder, scenario->observed, batch + 1, scenario->announced, 50 + 10 * (uint32_t)batch);
    select_masks(&recorder);
    expect_masks(&recorder);
    expect_values(&recorder);
    train(&recorder, scenario);
    if (trains_beside_weights(scenario)) {
        expect_linear(&recorder);
        merge(&recorder);
        expect_requantization(&recorder);
        expect_values(&recorder);
    }
    unmerge(&recorder);
    expect_values(&recorder);
    merge(&recorder);
    expect_values(&recorder);
    reload(&recorder, scenario->format);
    expect_masks(&recorder);
    expect_values(&recorder);
    unmerge(&recorder);
    expect_values(&recorder);
    finish_recording(&recorder);
}

static void make_folder(const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return;
    perror(path);
    exit(EXIT_FAILURE);
}

int main(int count, char **arguments) {
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: record FOLDER [THREADS]\n");
        return 2;
    }
    make_folder(arguments[1]);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; ++i) {
        char folder[4000];
        if (snprintf(folder, sizeof folder, "%s/%s", arguments[1], scenarios[i].name) >= (int)sizeof folder) {
            fprintf(stderr, "%s: the path is too long\n", arguments[1]);
            return EXIT_FAILURE;
        }
        make_folder(folder);
        play(&scenarios[i], folder, count > 2 ? atoi(arguments[2]) : 2);
    }
    return EXIT_SUCCESS;
}
