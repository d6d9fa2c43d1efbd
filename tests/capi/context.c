/* Contexts: options and their sizes, backends, the host's allocator, threads and log, and who outlives whom. */
#include <stddef.h>

#include "host.h"
#include "numbers.h"

static speft_context_options default_options(void) {
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    return options;
}

static speft_status try_context(const speft_context_options *options, speft_context **context) {
    return speft_create_context(options, context, &error);
}

/* ---- options ---- */

static void test_defaults(void) {
    const speft_context_options options = default_options();
    CHECK_EQUAL(options.struct_size, sizeof options);
    CHECK_EQUAL(options.threads, 0);
    CHECK_EQUAL(options.device, 0);
    CHECK(!options.backend && !options.stream && !options.allocator && !options.logger && !options.parallel_for);
    CHECK(!options.backend_path);

    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));
    CHECK(speft_get_context_backend(context) != NULL);
    CHECK_OK(speft_synchronize(context, &error));
    CHECK_OK(speft_synchronize(context, &error));
    speft_destroy_context(context);
}

static void test_defaults_of_the_other_options(void) {
    speft_selection_options selection;
    speft_selection_options_init(&selection, sizeof selection);
    CHECK_EQUAL(selection.method, SPEFT_SELECT_GRADIENT);
    CHECK_EQUAL(selection.scope, SPEFT_SCOPE_GLOBAL);
    CHECK_EQUAL(selection.random, SPEFT_RANDOM_EXACT);
    CHECK(selection.density == 0 && selection.budget == 0 && selection.seed == 0 && !selection.schedule);

    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    CHECK_EQUAL(schedule.struct_size, sizeof schedule);
    CHECK(schedule.schedule == 0 && schedule.total_steps == 0 && schedule.rate == 0);

    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    CHECK_EQUAL(optimizer.kind, SPEFT_OPTIMIZER_ADAMW);
    CHECK_EQUAL(optimizer.age, SPEFT_AGE_COMMON);
    CHECK_EQUAL(optimizer.state, 0);

    speft_hyperparameters hyperparameters;
    speft_hyperparameters_init(&hyperparameters, sizeof hyperparameters);
    CHECK(hyperparameters.learning_rate == 1e-3 && hyperparameters.beta1 == 0.9 && hyperparameters.beta2 == 0.999);
    CHECK(hyperparameters.epsilon == 1e-8 && hyperparameters.weight_decay == 0);
    CHECK_EQUAL(hyperparameters.decay, SPEFT_DECAY_TO_ORIGINAL);

    speft_save_options save;
    speft_save_options_init(&save, sizeof save);
    CHECK_EQUAL(save.format, SPEFT_FORMAT_EXACT);
    CHECK(!save.writer && !save.progress);
}

/* A newer caller's struct, and an older one's. `init` writes all of the first and no more than the second. */
#define CHECK_INIT_KEEPS_TO_ITS_SIZE(type, init)                                         \
    do {                                                                                 \
        struct {                                                                         \
            type known;                                                                  \
            uint64_t tail;                                                               \
        } newer;                                                                         \
        memset(&newer, 0xff, sizeof newer);                                              \
        init(&newer.known, sizeof newer);                                                \
        CHECK_EQUAL(newer.known.struct_size, sizeof newer);                              \
        CHECK_EQUAL(newer.tail, 0);                                                      \
        unsigned char older[sizeof(type)];                                               \
        memset(older, 0xff, sizeof older);                                               \
        type aligned;                                                                    \
        memcpy(&aligned, older, sizeof aligned);                                         \
        init(&aligned, 8);                                                               \
        CHECK_EQUAL(aligned.struct_size, 8);                                             \
        CHECK_BYTES((unsigned char *)&aligned + 8, older + 8, sizeof aligned - 8);       \
        init(NULL, sizeof(type));                                                        \
    } while (0)

static void test_init_keeps_to_the_size_of_the_caller(void) {
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_context_options, speft_context_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_adapter_options, speft_adapter_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_parameter, speft_parameter_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_selection_options, speft_selection_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_schedule_options, speft_schedule_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_optimizer_options, speft_optimizer_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_hyperparameters, speft_hyperparameters_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_step_options, speft_step_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_save_options, speft_save_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_load_options, speft_load_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_basis_options, speft_basis_options_init);
    CHECK_INIT_KEEPS_TO_ITS_SIZE(speft_linear_options, speft_linear_options_init);
}

static void test_a_longer_struct_needs_a_zero_tail(void) {
    struct {
        speft_context_options known;
        uint64_t tail[2];
    } newer;
    speft_context_options_init(&newer.known, sizeof newer);
    speft_context *context = NULL;
    CHECK_OK(try_context(&newer.known, &context));
    speft_destroy_context(context);

    context = NULL;
    newer.tail[1] = 1;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "options", try_context(&newer.known, &context));
    CHECK(context == NULL);
}

static void test_a_shorter_struct_is_refused(void) {
    speft_context_options options = default_options();
    speft_context *context = NULL;
    options.struct_size = (uint32_t)offsetof(speft_context_options, backend_path);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "struct_size", try_context(&options, &context));
    options.struct_size = 0;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "struct_size", try_context(&options, &context));
    CHECK(context == NULL);
}

static void test_bad_options_are_named(void) {
    speft_context *context = NULL;
    speft_context_options options = default_options();
    options.threads = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "threads", try_context(&options, &context));
    options = default_options();
    options.backend = "cpu";
    options.device = 1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "device", try_context(&options, &context));
    options.device = -1;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "device", try_context(&options, &context));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_create_context(NULL, NULL, &error));
    CHECK(context == NULL);
}

static void test_null_contexts(void) {
    speft_destroy_context(NULL);
    CHECK(speft_get_context_backend(NULL) == NULL);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_synchronize(NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_set_stream(NULL, NULL, &error));
}

static void test_a_cpu_has_no_streams(void) {
    int stream;
    speft_context *context = NULL;
    speft_context_options options = default_options();
    options.backend = "cpu";
    options.stream = &stream;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "stream", try_context(&options, &context));
    CHECK(context == NULL);

    context = create_context();
    CHECK_FAILS(SPEFT_UNSUPPORTED, "stream", speft_set_stream(context, &stream, &error));
    CHECK_OK(speft_set_stream(context, NULL, &error));
    speft_destroy_context(context);
}

/* ---- backends ---- */

static speft_backend_info describe_backend(int32_t index) {
    speft_backend_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(speft_describe_backend(index, &info, &error));
    return info;
}

static void test_backends_are_listed_with_reasons(void) {
    int found_cpu = 0;
    for (int32_t i = 0; i < speft_count_backends(); ++i) {
        const speft_backend_info info = describe_backend(i);
        speft_context_options options = default_options();
        options.backend = info.name;
        speft_context *context = NULL;
        if (info.available) {
            CHECK_TEXT(info.reason, "");
            CHECK_OK(try_context(&options, &context));
            CHECK_TEXT(speft_get_context_backend(context), info.name);
            speft_destroy_context(context);
        } else {
            CHECK(strlen(info.reason) > 0);
            CHECK_FAILS(SPEFT_UNAVAILABLE, info.reason, try_context(&options, &context));
            CHECK(context == NULL);
        }
        if (strcmp(info.name, "cpu") == 0) {
            found_cpu = 1;
            CHECK_EQUAL(info.available, 1);
            CHECK_TEXT(info.version, speft_version());
        }
    }
    CHECK(found_cpu);
}

static void test_a_folder_is_searched_when_backends_are_described(void) {
    for (int32_t i = 0; i < speft_count_backends(); ++i) {
        speft_backend_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        info.backend_path = "/no folder of backends";
        CHECK_OK(speft_describe_backend(i, &info, &error));
        CHECK_TEXT(info.backend_path, "/no folder of backends");
        /* Unless there is one elsewhere, which cannot run here. */
        if (strstr(info.reason, "there is no")) CHECK(strstr(info.reason, "in /no folder of backends, ") != NULL);
    }
}

static void test_describing_what_is_not_there(void) {
    speft_backend_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "index", speft_describe_backend(-1, &info, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "index", speft_describe_backend(speft_count_backends(), &info, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "info", speft_describe_backend(0, NULL, &error));
    CHECK(info.name == NULL);
    info.struct_size = 4;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "struct_size", speft_describe_backend(0, &info, &error));
    CHECK(info.name == NULL);
}

static void test_an_unknown_backend_is_unavailable(void) {
    speft_context_options options = default_options();
    options.backend = "abacus";
    speft_context *context = NULL;
    CHECK_FAILS(SPEFT_UNAVAILABLE, "abacus", try_context(&options, &context));
    CHECK(context == NULL);
}

static void test_auto_chooses(void) {
    speft_context_options options = default_options();
    options.backend = "auto";
    speft_context *context = NULL;
    CHECK_OK(try_context(&options, &context));
    CHECK(strlen(speft_get_context_backend(context)) > 0);
    speft_destroy_context(context);
}

/* ---- which code runs ---- */

static void select_magnitude(speft_context *context, int64_t size, int64_t budget) {
    float *weights = malloc((size_t)size * sizeof *weights);
    if (!weights) abort();
    fill(weights, size, 1);
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0, budget);
    const speft_parameter parameter = DECLARE_VECTOR("w", size);
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    bind(adapter, 0, VECTOR(weights, float32, size));
    CHECK_OK(speft_select(adapter, NULL, &error));
    CHECK_EQUAL(count_selected(adapter, 0), budget);
    speft_destroy_adapter(adapter);
    free(weights);
}

static void test_implementations_are_listed_and_told(void) {
    speft_context *context = create_context();
    int32_t ran_before = 0, ran_after = 0, operations = 0;
    for (const char *operation; (operation = speft_get_operation_name(operations)); ++operations) {
        const char *name = "not written";
        CHECK_OK(speft_get_implementation(context, operation, &name, &error));
        ran_before += name != NULL;

        int32_t count = 0;
        const char *last = NULL;
        for (;; ++count) {
            CHECK_OK(speft_get_implementation_name(context, operation, count, &name, &error));
            if (!name) break;
            last = name;
        }
        CHECK(count >= 1);
        if (last) CHECK_TEXT(last, "reference");
    }
    select_magnitude(context, 1000, 10);
    for (int32_t i = 0; i < operations; ++i) {
        const char *name = NULL;
        CHECK_OK(speft_get_implementation(context, speft_get_operation_name(i), &name, &error));
        ran_after += name != NULL;
    }
    CHECK_EQUAL(ran_before, 0);
    CHECK(ran_after >= 1);
    speft_destroy_context(context);
}

static void test_an_implementation_can_be_forced(void) {
    speft_context *context = create_context();
    for (int32_t i = 0; speft_get_operation_name(i); ++i)
        CHECK_OK(speft_set_implementation(context, speft_get_operation_name(i), "reference", &error));
    select_magnitude(context, 1000, 10);
    for (int32_t i = 0; speft_get_operation_name(i); ++i) {
        const char *name = NULL;
        CHECK_OK(speft_get_implementation(context, speft_get_operation_name(i), &name, &error));
        if (name) CHECK_TEXT(name, "reference");
        CHECK_OK(speft_set_implementation(context, speft_get_operation_name(i), NULL, &error));
    }
    select_magnitude(context, 1000, 10);
    speft_destroy_context(context);
}

static void test_unknown_operations_and_implementations(void) {
    speft_context *context = create_context();
    const char *name = "as it was";
    const char *operation = speft_get_operation_name(0);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "juggle", speft_get_implementation(context, "juggle", &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "juggle", speft_set_implementation(context, "juggle", NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "juggle",
                speft_get_implementation_name(context, "juggle", 0, &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "abacus", speft_set_implementation(context, operation, "abacus", &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_get_implementation(NULL, operation, &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "operation", speft_get_implementation(context, NULL, &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "name", speft_get_implementation(context, operation, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_set_implementation(NULL, operation, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "operation", speft_set_implementation(context, NULL, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_get_implementation_name(NULL, operation, 0, &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "operation", speft_get_implementation_name(context, NULL, 0, &name, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "name", speft_get_implementation_name(context, operation, 0, NULL, &error));
    CHECK_TEXT(name, "as it was");
    speft_destroy_context(context);
}

/* ---- the host's allocator ---- */

/* In front of a block: its size first, and right before it how far in front that is. */
struct pool {
    int64_t blocks, bytes, served, released;
};

static void *pool_allocate(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    struct pool *pool = user;
    CHECK(stream == NULL);
    CHECK(alignment >= 1 && (alignment & (alignment - 1)) == 0);
    const uint64_t front = alignment < 64 ? 64 : alignment;
    const uint64_t rounded = (front + bytes + front - 1) / front * front;
    unsigned char *memory = aligned_alloc(front, rounded);
    if (!memory) return NULL;
    memcpy(memory, &bytes, sizeof bytes);
    memcpy(memory + front - sizeof front, &front, sizeof front);
    pool->blocks += 1;
    pool->bytes += (int64_t)bytes;
    pool->served += 1;
    return memory + front;
}

static void pool_deallocate(void *user, void *memory, uint64_t bytes, void *stream) {
    struct pool *pool = user;
    CHECK(stream == NULL);
    CHECK(memory != NULL);
    uint64_t front, allocated;
    memcpy(&front, (unsigned char *)memory - sizeof front, sizeof front);
    memcpy(&allocated, (unsigned char *)memory - front, sizeof allocated);
    CHECK_EQUAL((int64_t)bytes, (int64_t)allocated);
    pool->blocks -= 1;
    pool->bytes -= (int64_t)bytes;
    free((unsigned char *)memory - front);
}

static void pool_release(void *user) {
    struct pool *pool = user;
    CHECK_EQUAL(pool->blocks, 0);
    pool->released += 1;
}

static speft_allocator allocator_of(struct pool *pool) {
    const speft_allocator allocator = {sizeof allocator, pool, pool_allocate, pool_deallocate, pool_release};
    return allocator;
}

static void test_the_hosts_allocator_is_used_and_balanced(void) {
    struct pool pool = {0, 0, 0, 0};
    speft_allocator allocator = allocator_of(&pool);
    speft_context_options options = default_options();
    options.backend = "cpu";
    options.allocator = &allocator;
    speft_context *context = NULL;
    CHECK_OK(try_context(&options, &context));
    /* The table is copied: only what `user` points to has to live. */
    memset(&allocator, 0xff, sizeof allocator);

    select_magnitude(context, 4096, 256);
    CHECK(pool.served > 0);
    CHECK_EQUAL(pool.released, 0);
    speft_destroy_context(context);
    CHECK_EQUAL(pool.blocks, 0);
    CHECK_EQUAL(pool.bytes, 0);
    CHECK_EQUAL(pool.released, 1);
}

static void test_half_an_allocator_is_refused(void) {
    struct pool pool = {0, 0, 0, 0};
    speft_allocator allocator = allocator_of(&pool);
    speft_context_options options = default_options();
    options.allocator = &allocator;
    speft_context *context = NULL;
    allocator.deallocate = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "deallocate", try_context(&options, &context));
    allocator = allocator_of(&pool);
    allocator.allocate = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "allocate", try_context(&options, &context));
    allocator = allocator_of(&pool);
    allocator.struct_size = 8;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "struct_size", try_context(&options, &context));
    /* What is refused stays the caller's: nothing is released. */
    allocator = allocator_of(&pool);
    options.backend = "abacus";
    CHECK_FAILS(SPEFT_UNAVAILABLE, "abacus", try_context(&options, &context));
    CHECK(context == NULL);
    CHECK_EQUAL(pool.released, 0);
}

/* ---- the host's threads ---- */

struct loops {
    int64_t runs, bodies, released;
};

static void run_backwards(void *user, int64_t count, void (*body)(void *argument, int64_t index), void *argument) {
    struct loops *loops = user;
    loops->runs += 1;
    for (int64_t i = count; i-- > 0;) {
        body(argument, i);
        loops->bodies += 1;
    }
}

static void release_loops(void *user) { ((struct loops *)user)->released += 1; }

static void test_the_hosts_parallel_for_is_used(void) {
    struct loops loops = {0, 0, 0};
    speft_parallel_for parallel_for = {sizeof parallel_for, 4, &loops, run_backwards, release_loops};
    speft_context_options options = default_options();
    options.backend = "cpu";
    options.parallel_for = &parallel_for;
    speft_context *context = NULL;
    CHECK_OK(try_context(&options, &context));
    memset(&parallel_for, 0xff, sizeof parallel_for);
    /* Large enough to be worth sharing out. */
    select_magnitude(context, 1 << 20, 1000);
    CHECK(loops.runs > 0);
    CHECK(loops.bodies > loops.runs);
    CHECK_EQUAL(loops.released, 0);
    speft_destroy_context(context);
    CHECK_EQUAL(loops.released, 1);

    context = NULL;
    parallel_for = (speft_parallel_for){sizeof parallel_for, 4, &loops, NULL, release_loops};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "run", try_context(&options, &context));
    parallel_for = (speft_parallel_for){sizeof parallel_for, 0, &loops, run_backwards, release_loops};
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "threads", try_context(&options, &context));
    CHECK(context == NULL);
    CHECK_EQUAL(loops.released, 1);
}

/* ---- the host's log ---- */

struct log {
    int64_t lines, released;
    int32_t lowest;
};

static void keep_line(void *user, int32_t level, const char *message) {
    struct log *log = user;
    log->lines += 1;
    if (level < log->lowest) log->lowest = level;
    CHECK(message && strlen(message) > 0 && !strchr(message, '\n'));
}

static void release_log(void *user) { ((struct log *)user)->released += 1; }

static int64_t count_lines(int32_t level) {
    struct log log = {0, 0, INT32_MAX};
    speft_logger logger = {sizeof logger, level, &log, keep_line, release_log};
    speft_context_options options = default_options();
    options.backend = "cpu";
    options.logger = &logger;
    speft_context *context = NULL;
    CHECK_OK(try_context(&options, &context));
    memset(&logger, 0xff, sizeof logger);
    select_magnitude(context, 64, 4);
    CHECK_EQUAL(log.released, 0);
    speft_destroy_context(context);
    CHECK_EQUAL(log.released, 1);
    CHECK(log.lowest >= level);
    return log.lines;
}

static void test_the_logger_hears_what_it_asked_for(void) {
    CHECK(count_lines(SPEFT_LOG_DEBUG) > 0);
    CHECK_EQUAL(count_lines(SPEFT_LOG_WARNING), 0);
}

/* ---- who outlives whom ---- */

static void test_an_adapter_keeps_its_context_alive(void) {
    speft_context *context = create_context();
    const speft_selection_options selection = choose(SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, 0, 2);
    const speft_parameter parameter = DECLARE_VECTOR("w", 4);
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    speft_destroy_context(context);

    float weights[] = {1, 2, 3, 4};
    bind(adapter, 0, VECTOR(weights, float32, 4));
    CHECK_OK(speft_select(adapter, NULL, &error));
    accumulate_dense(adapter, 0, VECTOR(((float[]){1, 1, 1, 1}), float32, 4));
    CHECK_OK(speft_step(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).steps, 1);
    speft_destroy_adapter(adapter);
}

static void test_many_contexts(void) {
    speft_context *contexts[16];
    for (int i = 0; i < 16; ++i) contexts[i] = create_context();
    for (int i = 0; i < 16; ++i) select_magnitude(contexts[i], 100 + i, 3);
    for (int i = 0; i < 16; ++i) speft_destroy_context(contexts[i]);
}

int main(void) {
    RUN(test_defaults);
    RUN(test_defaults_of_the_other_options);
    RUN(test_init_keeps_to_the_size_of_the_caller);
    RUN(test_a_longer_struct_needs_a_zero_tail);
    RUN(test_a_shorter_struct_is_refused);
    RUN(test_bad_options_are_named);
    RUN(test_null_contexts);
    RUN(test_a_cpu_has_no_streams);
    RUN(test_backends_are_listed_with_reasons);
    RUN(test_a_folder_is_searched_when_backends_are_described);
    RUN(test_describing_what_is_not_there);
    RUN(test_an_unknown_backend_is_unavailable);
    RUN(test_auto_chooses);
    RUN(test_implementations_are_listed_and_told);
    RUN(test_an_implementation_can_be_forced);
    RUN(test_unknown_operations_and_implementations);
    RUN(test_the_hosts_allocator_is_used_and_balanced);
    RUN(test_half_an_allocator_is_refused);
    RUN(test_the_hosts_parallel_for_is_used);
    RUN(test_the_logger_hears_what_it_asked_for);
    RUN(test_an_adapter_keeps_its_context_alive);
    RUN(test_many_contexts);
    return check_result();
}
