/* The C heap runs out at any allocation inside any call: the call says so or does without, nothing has changed, and
 * made again it succeeds. This program's malloc is the one that the libraries use too. */
#define _POSIX_C_SOURCE 200112L /* setenv */
#include "host.h"
#include "numbers.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a heap that can be told to fail ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/* How many more allocations of this thread are served: −1 for any number, 0 for none; only the first one fails. */
static _Thread_local int64_t left = -1;
static _Thread_local int failed;

static int fails(void) {
    if (left < 0) return 0;
    if (left-- > 0) return 0;
    failed = 1;
    errno = ENOMEM;
    return 1;
}

#define SHARED __attribute__((visibility("default")))
SHARED void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
SHARED void *calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }
SHARED void *realloc(void *memory, size_t size) { return fails() ? NULL : __libc_realloc(memory, size); }
SHARED void *aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : __libc_memalign(alignment, size);
}
SHARED int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (fails()) return ENOMEM;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

/* ---- a life ---- */

enum { ROWS = 90, COLUMNS = 130, SCALARS = ROWS * COLUMNS, TOKENS = 300, FEW_TOKENS = 2, HEAD = 5 };
enum { ROW_DIRECTIONS = 20, COLUMN_DIRECTIONS = 30 };

static const char *const path = "heap-test.safetensors";

struct kind {
    int32_t method, scope, optimizer, age, delta_type;
    int64_t reselect_every; /* with a window of 1 for SpIEL; 0: masks stay, or each step selects its own */
    int64_t settled_limit;
};

/* Between them every way to select, to move and to keep deltas. */
static const struct kind kinds[] = {
    {SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, SPEFT_DELTA_FLOAT32, 0, 0},
    {SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_PER_ROW, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_PER_WEIGHT,
     SPEFT_DELTA_FLOAT32, 0, 0},
    {SPEFT_SELECT_RANDOM, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_SGD, SPEFT_AGE_COMMON, SPEFT_DELTA_BFLOAT16, 0, 0},
    {SPEFT_SELECT_SPIEL_AG, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, SPEFT_DELTA_FLOAT32, 3, 0},
    {SPEFT_SELECT_SPIEL_MA, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_SM3, SPEFT_AGE_COMMON, SPEFT_DELTA_BFLOAT16, 3, 0},
    {SPEFT_SELECT_RANDOM, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, SPEFT_DELTA_FLOAT32, 1, 0},
    {SPEFT_SELECT_MEPROP, SPEFT_SCOPE_GLOBAL, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, SPEFT_DELTA_BFLOAT16, 0, 50},
    {SPEFT_SELECT_SPARSEGRAD, SPEFT_SCOPE_PER_TENSOR, SPEFT_OPTIMIZER_ADAM, SPEFT_AGE_COMMON, SPEFT_DELTA_FLOAT32, 0,
     10},
};

struct life {
    const struct kind *kind;
    speft_context *context;
    speft_basis *basis;
    speft_adapter *adapter, *loaded;
    float weights[SCALARS], head[HEAD], other_weights[SCALARS], other_head[HEAD];
    float x[TOKENS * COLUMNS], dy[TOKENS * ROWS], few_dy[FEW_TOKENS * ROWS], head_gradient[HEAD];
    float y[FEW_TOKENS * ROWS], dx[TOKENS * COLUMNS];
    int64_t mask[SCALARS];
    speft_memory_plan plan;
};

static speft_basis_options choose_basis(void) {
    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    options.rows = ROWS;
    options.columns = COLUMNS;
    options.row_directions = ROW_DIRECTIONS;
    options.column_directions = COLUMN_DIRECTIONS;
    return options;
}

static speft_status with_parameters(struct life *life, int plan) {
    const int spiel =
        life->kind->method == SPEFT_SELECT_SPIEL_AG || life->kind->method == SPEFT_SELECT_SPIEL_MA;
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.reselect_every = life->kind->reselect_every;
    schedule.window = spiel ? 1 : 0;
    schedule.settled_limit = life->kind->settled_limit;
    speft_selection_options selection = choose(life->kind->method, life->kind->scope, 0.1, 0);
    selection.schedule = &schedule;
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = life->kind->optimizer;
    optimizer.age = life->kind->age;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    options.optimizer = &optimizer;
    options.delta_type = life->kind->delta_type;
    speft_parameter parameters[2] = {DECLARE_MATRIX("w", ROWS, COLUMNS), DECLARE_VECTOR("head", HEAD)};
    parameters[1].role = SPEFT_ROLE_DENSE;
    const speft_parameter *const all[] = {&parameters[0], &parameters[1]};
    if (!plan) return speft_create_adapter(life->context, &options, all, 2, &life->adapter, &error);
    const speft_basis_options basis = choose_basis();
    const speft_basis_options *const bases[] = {&basis, NULL};
    life->plan.bases = life->kind->method == SPEFT_SELECT_SPARSEGRAD ? bases : NULL;
    const speft_status status = speft_plan_memory(life->context, &options, all, 2, &life->plan, &error);
    life->plan.bases = NULL;
    return status;
}

static speft_status give(struct life *life,
                         speft_status (*take)(speft_adapter *, int64_t, const speft_gradient *, speft_error **)) {
    const speft_gradient gradient =
        activations_gradient(MATRIX(life->x, float32, TOKENS, COLUMNS), MATRIX(life->dy, float32, TOKENS, ROWS),
                             SPEFT_LAYOUT_OUT_IN);
    return take(life->adapter, 0, &gradient, &error);
}

static speft_status make_context(struct life *life) {
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.backend = test_backend();
    options.threads = 2;
    return speft_create_context(&options, &life->context, &error);
}
static speft_status make_basis(struct life *life) {
    const speft_basis_options options = choose_basis();
    return speft_create_basis(life->context, &options, &life->basis, &error);
}
static speft_status observe_basis(struct life *life) {
    const speft_gradient gradient =
        activations_gradient(MATRIX(life->x, float32, TOKENS, COLUMNS), MATRIX(life->dy, float32, TOKENS, ROWS),
                             SPEFT_LAYOUT_OUT_IN);
    return speft_observe_basis(life->basis, &gradient, &error);
}
static speft_status fit_basis(struct life *life) { return speft_fit_basis(life->basis, NULL, &error); }
static speft_status bind_basis(struct life *life) { return speft_bind_basis(life->adapter, 0, life->basis, &error); }
static speft_status plan(struct life *life) { return with_parameters(life, 1); }
static speft_status make_adapter(struct life *life) { return with_parameters(life, 0); }
static speft_status bind_w(struct life *life) {
    return try_to_bind(life->adapter, 0, MATRIX(life->weights, float32, ROWS, COLUMNS));
}
static speft_status bind_head(struct life *life) {
    return try_to_bind(life->adapter, 1, VECTOR(life->head, float32, HEAD));
}
static speft_status observe(struct life *life) { return give(life, speft_observe); }
static speft_status finish(struct life *life) { return speft_finish_observation(life->adapter, 1, &error); }
static speft_status select_now(struct life *life) { return speft_select(life->adapter, NULL, &error); }
static speft_status copy_mask(struct life *life) {
    return speft_get_mask(life->adapter, 0, VECTOR(life->mask, int64, count_selected(life->adapter, 0)), &error);
}
static speft_status accumulate(struct life *life) { return give(life, speft_accumulate); }
/* Another gradient, of so few tokens that a basis takes them as they are. */
static speft_status accumulate_few(struct life *life) {
    const speft_gradient gradient =
        activations_gradient(MATRIX(life->x, float32, FEW_TOKENS, COLUMNS),
                             MATRIX(life->few_dy, float32, FEW_TOKENS, ROWS), SPEFT_LAYOUT_OUT_IN);
    return speft_accumulate(life->adapter, 0, &gradient, &error);
}
static speft_status accumulate_head(struct life *life) {
    const speft_gradient gradient = dense_gradient(VECTOR(life->head_gradient, float32, HEAD));
    return speft_accumulate(life->adapter, 1, &gradient, &error);
}
static speft_status borrow_gradient(struct life *life) {
    speft_tensor gradient;
    return speft_get_gradient(life->adapter, 0, &gradient, &error);
}
static speft_status clip(struct life *life) { return speft_clip_gradient(life->adapter, 0.5, NULL, &error); }
static speft_status step(struct life *life) { return speft_step(life->adapter, NULL, &error); }
static speft_status reselect(struct life *life) { return speft_reselect(life->adapter, NULL, NULL, &error); }
static speft_status borrow_deltas(struct life *life) {
    speft_tensor deltas;
    return speft_get_deltas(life->adapter, 0, &deltas, &error);
}
static speft_status forward(struct life *life) {
    const speft_linear_options options = adding_products();
    return speft_linear_forward(life->adapter, 0, &options, MATRIX(life->x, float32, FEW_TOKENS, COLUMNS),
                                MATRIX(life->y, float32, FEW_TOKENS, ROWS), &error);
}
static speft_status backward(struct life *life) {
    const speft_linear_options options = adding_products();
    return speft_linear_backward(life->adapter, 0, &options, MATRIX(life->dy, float32, TOKENS, ROWS),
                                 MATRIX(life->dx, float32, TOKENS, COLUMNS), &error);
}
static speft_status attach(struct life *life) { return speft_attach(life->adapter, &error); }
static speft_status unmerge(struct life *life) { return speft_unmerge(life->adapter, &error); }
static speft_status merge(struct life *life) { return speft_merge(life->adapter, &error); }
static speft_status measure(struct life *life) {
    double share;
    return speft_measure_rounding_loss(life->adapter, -1, &share, &error);
}
static speft_status save(struct life *life) { return speft_save_adapter(life->adapter, NULL, path, &error); }
static speft_status save_checkpoint(struct life *life) {
    return speft_save_checkpoint(life->adapter, NULL, path, &error);
}
static speft_status load(struct life *life) {
    return speft_load_adapter(life->context, NULL, path, &life->loaded, &error);
}
static speft_status load_checkpoint(struct life *life) {
    return speft_load_checkpoint(life->context, NULL, path, &life->loaded, &error);
}
static speft_status bind_loaded(struct life *life) {
    return try_to_bind(life->loaded, 0, MATRIX(life->other_weights, float32, ROWS, COLUMNS));
}
static speft_status bind_loaded_head(struct life *life) {
    return try_to_bind(life->loaded, 1, VECTOR(life->other_head, float32, HEAD));
}
static speft_status attach_loaded(struct life *life) { return speft_attach(life->loaded, &error); }
static speft_status merge_loaded(struct life *life) { return speft_merge(life->loaded, &error); }
static speft_status leave_bases(struct life *life) {
    return speft_leave_bases(life->adapter, 0.05, &life->loaded, NULL, &error);
}
static speft_status unmerge_loaded(struct life *life) { return speft_unmerge(life->loaded, &error); }
static speft_status drop_loaded(struct life *life) {
    speft_destroy_adapter(life->loaded);
    life->loaded = NULL;
    return SPEFT_OK;
}

typedef speft_status (*const call_of_life)(struct life *);

static call_of_life calls[] = {
    make_context, plan, make_adapter, bind_w, bind_head,
    observe, finish, observe, finish, select_now, copy_mask,
    accumulate, accumulate_head, borrow_gradient, clip, step, reselect,
    accumulate, accumulate_head, step, reselect, borrow_deltas, measure, unmerge, merge,
    save, load, bind_loaded, bind_loaded_head, merge_loaded, drop_loaded,
    accumulate, save_checkpoint, load_checkpoint, drop_loaded, accumulate_head, step, reselect,
};

/* Of masks that are selected by each step's gradient; the second step's scalars drive some of the first's out. */
static call_of_life calls_by_step[] = {
    make_context, plan, make_adapter, bind_w, bind_head, select_now,
    accumulate, accumulate_head, reselect, copy_mask, borrow_gradient, clip, step,
    accumulate_few, accumulate_few, accumulate_head, reselect, step, borrow_deltas, measure,
    unmerge, forward, backward, merge,
    save, load, bind_loaded, bind_loaded_head, merge_loaded, drop_loaded,
    accumulate, accumulate_few, reselect, save_checkpoint, load_checkpoint, drop_loaded, accumulate_head, step,
};

static call_of_life calls_in_basis[] = {
    make_context, plan, make_basis, observe_basis, fit_basis, make_adapter, bind_w, bind_head, bind_basis, select_now,
    accumulate, accumulate_head, reselect, copy_mask, borrow_gradient, clip, step,
    accumulate_few, accumulate_few, accumulate_head, reselect, step, borrow_deltas, forward, backward,
    leave_bases, bind_loaded, bind_loaded_head, merge_loaded, unmerge_loaded, drop_loaded,
    merge, attach, unmerge, forward, merge, unmerge, attach,
    save, load, bind_loaded, bind_loaded_head, attach_loaded, merge_loaded, unmerge_loaded, drop_loaded,
    load, bind_loaded, bind_loaded_head, merge_loaded, drop_loaded,
    accumulate, accumulate_few, reselect, save_checkpoint, load_checkpoint, drop_loaded, accumulate_head, step,
};

struct course {
    call_of_life *calls;
    int64_t count;
};

static struct course course_of(const struct kind *kind) {
    if (kind->method == SPEFT_SELECT_MEPROP) return (struct course){calls_by_step, COUNT_OF(calls_by_step)};
    if (kind->method == SPEFT_SELECT_SPARSEGRAD) return (struct course){calls_in_basis, COUNT_OF(calls_in_basis)};
    return (struct course){calls, COUNT_OF(calls)};
}

static struct life *start(const struct kind *kind) {
    struct life *life = calloc(1, sizeof *life);
    life->kind = kind;
    life->plan.struct_size = sizeof life->plan;
    fill(life->weights, SCALARS, 1);
    fill(life->head, HEAD, 2);
    fill(life->other_weights, SCALARS, 1);
    fill(life->other_head, HEAD, 3);
    fill(life->x, TOKENS * COLUMNS, 4);
    fill(life->dy, TOKENS * ROWS, 5);
    fill(life->head_gradient, HEAD, 6);
    fill(life->few_dy, FEW_TOKENS * ROWS, 7);
    return life;
}

/* The first `count` calls of a life, with all the memory they want. */
static struct life *live(const struct kind *kind, int64_t count) {
    struct life *life = start(kind);
    for (int64_t call = 0; call < count; ++call) CHECK_OK(course_of(kind).calls[call](life));
    return life;
}

static void end(struct life *life) {
    left = failed = 0; /* giving memory back takes none */
    speft_destroy_adapter(life->loaded);
    speft_destroy_adapter(life->adapter);
    speft_destroy_basis(life->basis);
    speft_destroy_context(life->context);
    CHECK(!failed);
    left = -1;
    free(life);
    remove(path);
}

/* What a host can see, and what is found out only by going on: the rest of the life has to end the same. */
static void check_untouched(const struct life *life, const struct life *before, int call) {
    if (memcmp(life, before, sizeof *life) == 0) return;
    fprintf(stderr, "call %d of method %d failed for want of memory, and changed a handle, a weight or an output\n",
            call, life->kind->method);
    atomic_fetch_add(&check_failures, 1);
}

static void check_same(const struct life *actual, const struct life *expected) {
    CHECK_BYTES(actual->weights, expected->weights, sizeof expected->weights);
    CHECK_BYTES(actual->head, expected->head, sizeof expected->head);
    CHECK_BYTES(actual->other_weights, expected->other_weights, sizeof expected->other_weights);
    CHECK_BYTES(actual->other_head, expected->other_head, sizeof expected->other_head);
    CHECK_BYTES(actual->mask, expected->mask, sizeof expected->mask);
    CHECK_BYTES(actual->y, expected->y, sizeof expected->y);
    CHECK_BYTES(actual->dx, expected->dx, sizeof expected->dx);
}

/* With one allocation refused. The result is the call's; `failed` tells whether it came to that allocation. */
static speft_status make_scarcely(speft_status (*call)(struct life *), struct life *life, int64_t served) {
    left = served;
    failed = 0;
    const speft_status status = call(life);
    left = -1;
    return status;
}

/* ---- tests ---- */

enum { REFUSED = EXIT_SUCCESS, WRONG = EXIT_FAILURE, SERVED };

static int load_scarcely(int64_t served) {
    struct life *life = start(&kinds[0]);
    const speft_status status = make_scarcely(make_context, life, served);
    if (status == SPEFT_OK && !failed) return SERVED;
    if (status != SPEFT_OK) {
        CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "memory", status);
        CHECK(!life->context);
        CHECK_OK(make_context(life));
    }
    return check_result() == EXIT_SUCCESS ? REFUSED : WRONG;
}

/* A backend is loaded once in a process: each attempt has one of its own. */
static void test_the_heap_may_fail_while_a_backend_is_loaded(void) {
    int result = REFUSED;
    for (int64_t served = 0; result == REFUSED; ++served) {
        const pid_t child = fork();
        if (child == 0) _exit(load_scarcely(served));
        int status = 0;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        result = WIFEXITED(status) ? WEXITSTATUS(status) : WRONG;
    }
    CHECK_EQUAL(result, SERVED);
}

static void live_scarcely(const struct kind *kind) {
    struct life *plenty = start(kind), *scarce = start(kind), *before = start(kind);
    const struct course course = course_of(kind);
    int64_t allocations = 0;
    for (int call = 0; call < course.count; ++call) {
        CHECK_OK(course.calls[call](plenty));
        for (int64_t served = 0;; ++served) {
            memcpy(before, scarce, sizeof *scarce);
            const speft_status status = make_scarcely(course.calls[call], scarce, served);
            if (!failed) {
                CHECK_OK(status);
                break;
            }
            ++allocations;
            if (status == SPEFT_OK) { /* it did without; what else it allocates is seen in another life */
                check_same(scarce, plenty);
                end(scarce);
                scarce = live(kind, call);
                continue;
            }
            CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "memory", status);
            check_untouched(scarce, before, call);
        }
    }
    check_same(scarce, plenty);
    CHECK_EQUAL(read_state(scarce->adapter).steps, 3);
    printf("     %d allocations refused\n", (int)allocations);
    CHECK(allocations > course.count);
    end(plenty);
    end(scarce);
    free(before);
}

static void test_the_heap_may_fail_anywhere(void) {
    for (int64_t kind = 0; kind < COUNT_OF(kinds); ++kind) live_scarcely(&kinds[kind]);
}

int main(void) {
    /* OpenBLAS writes to what malloc has refused it: a library without eigenvectors is put in its place. */
    setenv("SPEFT_OPENBLAS", "libm.so.6", 1);
    RUN(test_the_heap_may_fail_while_a_backend_is_loaded); /* first: before one is */
    RUN(test_the_heap_may_fail_anywhere);
    return check_result();
}
