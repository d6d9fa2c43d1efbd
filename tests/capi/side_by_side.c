/* Two contexts in two threads over the one pool: observing, selecting, accumulating and stepping at the same time.
 * The thread sanitizer runs this too: what two contexts share without saying so shows here. */
#define _POSIX_C_SOURCE 200112L /* barriers */
#include <pthread.h>

#include "host.h"
#include "numbers.h"

/* Large enough that every operation is cut into pieces for several threads. Short numbers over few tokens: all sums of
 * products are exact, so that their order cannot show. */
enum { ROWS = 512, COLUMNS = 512, SCALARS = ROWS * COLUMNS, TOKENS = 16, BUDGET = SCALARS / 20, STEPS = 3 };

static float x[TOKENS * COLUMNS], dy[TOKENS * ROWS];

struct trainer {
    int32_t threads;
    pthread_barrier_t *meeting; /* NULL: alone */
    int has_met;                /* inside of its selection */
    float weights[SCALARS];
    float deltas[BUDGET];
    int64_t mask[BUDGET];
};

static void meet(const struct trainer *trainer) {
    if (trainer->meeting) pthread_barrier_wait(trainer->meeting);
}

/* One selection waits in here for the other: neither begins after the other's end. */
static int32_t meet_once(void *user, int64_t done, int64_t total) {
    struct trainer *trainer = user;
    (void)done, (void)total;
    if (!trainer->has_met) meet(trainer);
    trainer->has_met = 1;
    return 0;
}

static speft_adapter *create_trained(speft_context *context, struct trainer *trainer) {
    const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, 0, BUDGET);
    const speft_parameter parameter = DECLARE_MATRIX("w", ROWS, COLUMNS);
    const speft_gradient gradient = activations_gradient(MATRIX(x, float32, TOKENS, COLUMNS),
                                                         MATRIX(dy, float32, TOKENS, ROWS), SPEFT_LAYOUT_OUT_IN);
    const speft_progress progress = {sizeof progress, trainer, meet_once};
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    bind(adapter, 0, MATRIX(trainer->weights, float32, ROWS, COLUMNS));
    meet(trainer);
    CHECK_OK(speft_observe(adapter, 0, &gradient, &error));
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_OK(speft_select(adapter, &progress, &error));
    for (int step = 0; step < STEPS; ++step) {
        meet(trainer);
        CHECK_OK(speft_accumulate(adapter, 0, &gradient, &error));
        CHECK_OK(speft_clip_gradient(adapter, 1, NULL, &error));
        CHECK_OK(speft_step(adapter, NULL, &error));
    }
    return adapter;
}

static void *train(void *argument) {
    struct trainer *trainer = argument;
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.backend = test_backend();
    options.threads = trainer->threads;
    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));
    fill(trainer->weights, SCALARS, 1);
    speft_adapter *adapter = create_trained(context, trainer);
    CHECK_EQUAL(read_mask(adapter, 0, trainer->mask, BUDGET), BUDGET);
    memcpy(trainer->deltas, lend_deltas(adapter, 0), sizeof trainer->deltas);
    meet(trainer);
    CHECK_OK(speft_unmerge(adapter, &error));
    CHECK_OK(speft_merge(adapter, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
    return NULL;
}

static void check_same(const struct trainer *trainer, const struct trainer *alone) {
    CHECK(trainer->has_met);
    CHECK_BYTES(trainer->mask, alone->mask, sizeof alone->mask);
    CHECK_BYTES(trainer->deltas, alone->deltas, sizeof alone->deltas);
    CHECK_BYTES(trainer->weights, alone->weights, sizeof alone->weights);
}

static void test_two_contexts_train_as_one_does_alone(void) {
    static struct trainer alone, first, second;
    alone = (struct trainer){.threads = 1};
    train(&alone);
    for (int32_t threads = 1; threads <= 8; ++threads) {
        pthread_barrier_t meeting;
        pthread_t thread;
        if (pthread_barrier_init(&meeting, NULL, 2)) abort();
        first = (struct trainer){.threads = threads, .meeting = &meeting};
        second = (struct trainer){.threads = 9 - threads, .meeting = &meeting};
        if (pthread_create(&thread, NULL, train, &second)) abort();
        train(&first);
        if (pthread_join(thread, NULL) || pthread_barrier_destroy(&meeting)) abort();
        check_same(&first, &alone);
        check_same(&second, &alone);
    }
}

int main(void) {
    fill(x, TOKENS * COLUMNS, 2);
    fill(dy, TOKENS * ROWS, 3);
    RUN(test_two_contexts_train_as_one_does_alone);
    return check_result();
}
