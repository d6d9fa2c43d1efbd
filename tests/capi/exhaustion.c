/* Memory that runs out at any allocation of an adapter's life: the call says so and changes nothing, and made again
 * it ends as if nothing had happened. */
#include "scene.h"

#include <errno.h>

/* Serves `left` more blocks, then none until it is refilled. */
struct scarce {
    int64_t left, blocks, refused;
};

static void *scarce_allocate(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    struct scarce *scarce = user;
    (void)stream;
    if (scarce->left == 0) {
        scarce->refused += 1;
        return NULL;
    }
    scarce->left -= 1;
    scarce->blocks += 1;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void scarce_deallocate(void *user, void *memory, uint64_t bytes, void *stream) {
    (void)bytes, (void)stream;
    ((struct scarce *)user)->blocks -= 1;
    free(memory);
}

static speft_context *create_scarce_context(struct scarce *scarce) {
    const speft_allocator allocator = {sizeof allocator, scarce, scarce_allocate, scarce_deallocate, NULL};
    return create_context_on(&allocator, 0);
}

/* ---- a life as a list of calls ---- */

enum { TOKENS = 2, MANY_TOKENS = 50, BASES = 2, CODES = 12 };

/* `query` as NF4: one block. */
struct codes {
    uint8_t codes[CODES];
    float absmax[1];
};

struct life {
    int quantized;
    struct codes codes, loaded_codes;
    struct scene scene;
    speft_basis *bases[BASES]; /* of query and value; NULL */
    speft_adapter *loaded;
    float loaded_weights[SCENE_PARAMETERS][SCENE_SCALARS];
    float x[MANY_TOKENS * SCENE_SCALARS], dy[MANY_TOKENS * SCENE_SCALARS], y[MANY_TOKENS * SCENE_SCALARS];
};

static speft_status try_to_bind_codes(speft_adapter *adapter, struct codes *codes) {
    const speft_quantization quantization = {.struct_size = sizeof quantization,
                                             .block = 64,
                                             .absmax = VECTOR(codes->absmax, float32, 1)};
    const speft_dtype uint8 = {SPEFT_CODE_UINT, 8, 1};
    const speft_weights weights = {sizeof weights, SPEFT_WEIGHTS_NF4, VECTOR(codes->codes, uint8, CODES),
                                   &quantization};
    return speft_bind_weights(adapter, QUERY, &weights, &error);
}

static speft_status bind_one(struct life *life, int p) {
    struct scene *scene = &life->scene;
    scene->weight_views[p] = view(scene->weights[p], float32, scene_ndims[p], scene_shapes[p]);
    scene->gradient_views[p] = view(scene->gradients[p], float32, scene_ndims[p], scene_shapes[p]);
    if (life->quantized && p == QUERY) return try_to_bind_codes(scene->adapter, &life->codes);
    return try_to_bind(scene->adapter, p, &scene->weight_views[p]);
}

typedef speft_status (*giving)(speft_adapter *, int64_t, const speft_gradient *, speft_error **);

static speft_status give_one(struct life *life, int p, giving give) {
    const speft_gradient gradient = dense_gradient(&life->scene.gradient_views[p]);
    return give(life->scene.adapter, p, &gradient, &error);
}

static speft_gradient activations_of(struct life *life, int p, int64_t tokens, speft_tensor views[2],
                                     int64_t shapes[2][2]) {
    for (int side = 0; side < 2; ++side) {
        shapes[side][0] = tokens;
        shapes[side][1] = scene_shapes[p][1 - side];
        views[side] = view(side ? life->dy : life->x, float32, 2, shapes[side]);
    }
    return activations_gradient(&views[0], &views[1], SPEFT_LAYOUT_OUT_IN);
}

static speft_status give_activations(struct life *life, int p, int64_t tokens) {
    speft_tensor views[2];
    int64_t shapes[2][2];
    const speft_gradient gradient = activations_of(life, p, tokens, views, shapes);
    return speft_accumulate(life->scene.adapter, p, &gradient, &error);
}

static speft_status bind_query(struct life *life) { return bind_one(life, QUERY); }
static speft_status bind_value(struct life *life) { return bind_one(life, VALUE); }
static speft_status bind_bias(struct life *life) { return bind_one(life, BIAS); }
static speft_status announce(struct life *life) { return speft_begin_observation(life->scene.adapter, 2, &error); }
static speft_status observe_query(struct life *life) { return give_one(life, QUERY, speft_observe); }
static speft_status observe_value(struct life *life) { return give_one(life, VALUE, speft_observe); }
static speft_status finish(struct life *life) { return speft_finish_observation(life->scene.adapter, 2, &error); }
static speft_status select_now(struct life *life) { return speft_select(life->scene.adapter, NULL, &error); }
static speft_status accumulate_query(struct life *life) { return give_one(life, QUERY, speft_accumulate); }
static speft_status accumulate_value(struct life *life) { return give_one(life, VALUE, speft_accumulate); }
static speft_status accumulate_bias(struct life *life) { return give_one(life, BIAS, speft_accumulate); }
static speft_status accumulate_query_tokens(struct life *life) { return give_activations(life, QUERY, TOKENS); }
static speft_status accumulate_value_tokens(struct life *life) { return give_activations(life, VALUE, MANY_TOKENS); }
static speft_status reselect(struct life *life) { return speft_reselect(life->scene.adapter, NULL, NULL, &error); }
static speft_status clip(struct life *life) { return speft_clip_gradient(life->scene.adapter, 0.5, NULL, &error); }
static speft_status step_now(struct life *life) { return speft_step(life->scene.adapter, NULL, &error); }
static speft_status unmerge_now(struct life *life) { return speft_unmerge(life->scene.adapter, &error); }
static speft_status merge_now(struct life *life) { return speft_merge(life->scene.adapter, &error); }
static speft_status attach_now(struct life *life) { return speft_attach(life->scene.adapter, &error); }

static speft_status make_bases(struct life *life) {
    for (int i = 0; i < BASES; ++i) {
        speft_basis_options options;
        speft_basis_options_init(&options, sizeof options);
        options.rows = scene_shapes[i][0];
        options.columns = scene_shapes[i][1];
        options.row_directions = i == VALUE ? 2 : 0;
        const speft_status status = speft_create_basis(life->scene.context, &options, &life->bases[i], &error);
        if (status != SPEFT_OK) return status;
    }
    return SPEFT_OK;
}
static speft_status observe_basis(struct life *life, int p) {
    speft_tensor views[2];
    int64_t shapes[2][2];
    const speft_gradient gradient = activations_of(life, p, MANY_TOKENS, views, shapes);
    return speft_observe_basis(life->bases[p], &gradient, &error);
}
static speft_status observe_query_basis(struct life *life) { return observe_basis(life, QUERY); }
static speft_status observe_value_basis(struct life *life) { return observe_basis(life, VALUE); }
static speft_status fit_query(struct life *life) { return speft_fit_basis(life->bases[QUERY], NULL, &error); }
static speft_status fit_value(struct life *life) { return speft_fit_basis(life->bases[VALUE], NULL, &error); }
static speft_status bind_query_basis(struct life *life) {
    return speft_bind_basis(life->scene.adapter, QUERY, life->bases[QUERY], &error);
}
static speft_status bind_value_basis(struct life *life) {
    return speft_bind_basis(life->scene.adapter, VALUE, life->bases[VALUE], &error);
}

static speft_status forward(struct life *life) {
    const speft_linear_options options = adding_products();
    return speft_linear_forward(life->scene.adapter, QUERY, &options, MATRIX(life->x, float32, TOKENS, 6),
                                MATRIX(life->y, float32, TOKENS, 4), &error);
}
static speft_status backward(struct life *life) {
    const speft_linear_options options = adding_products();
    return speft_linear_backward(life->scene.adapter, VALUE, &options, MATRIX(life->dy, float32, MANY_TOKENS, 3),
                                 MATRIX(life->y, float32, MANY_TOKENS, 5), &error);
}

/* Rows of two adapters and of none. */
static speft_status forward_each(struct life *life) {
    speft_adapter *const adapters[] = {life->scene.adapter, life->loaded};
    const int64_t parameters[] = {QUERY, QUERY}, choice[] = {1, 0, -1, 1, 0};
    speft_linear_options options = adding_products();
    options.delta_only = 1; /* they have copies of their base */
    return speft_linear_forward_each(adapters, parameters, 2, &options, MATRIX(life->x, float32, 5, 6),
                                     VECTOR(choice, int64, 5), MATRIX(life->y, float32, 5, 4), &error);
}

/* In memory: a disk would be waited for in each of many lives. */
static struct {
    char bytes[1 << 16];
    uint64_t size;
} file;

static int32_t append_to_file(void *user, const void *bytes, uint64_t count) {
    (void)user;
    if (file.size + count > sizeof file.bytes) return ENOSPC;
    memcpy(file.bytes + file.size, bytes, count);
    file.size += count;
    return 0;
}

typedef speft_status (*saving)(speft_adapter *, const speft_save_options *, const char *, speft_error **);
typedef speft_status (*loading)(speft_context *, const speft_load_options *, const char *, speft_adapter **,
                                speft_error **);

static speft_status save_with(struct life *life, saving save) {
    const speft_writer writer = {sizeof writer, NULL, append_to_file};
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.writer = &writer;
    file.size = 0;
    return save(life->scene.adapter, &options, NULL, &error);
}
static speft_status load_with(struct life *life, loading load) {
    speft_load_options options;
    speft_load_options_init(&options, sizeof options);
    options.bytes = file.bytes;
    options.size = file.size;
    return load(life->scene.context, &options, NULL, &life->loaded, &error);
}
static speft_status save(struct life *life) { return save_with(life, speft_save_adapter); }
static speft_status save_checkpoint(struct life *life) { return save_with(life, speft_save_checkpoint); }
static speft_status load(struct life *life) { return load_with(life, speft_load_adapter); }
static speft_status load_checkpoint(struct life *life) { return load_with(life, speft_load_checkpoint); }
static speft_status bind_loaded(struct life *life) {
    for (int p = 0; p < SCENE_PARAMETERS; ++p) {
        const speft_tensor data = view(life->loaded_weights[p], float32, scene_ndims[p], scene_shapes[p]);
        const speft_status status = life->quantized && p == QUERY
                                        ? try_to_bind_codes(life->loaded, &life->loaded_codes)
                                        : try_to_bind(life->loaded, p, &data);
        if (status != SPEFT_OK) return status;
    }
    return SPEFT_OK;
}
static speft_status attach_loaded(struct life *life) { return speft_attach(life->loaded, &error); }
static speft_status merge_loaded(struct life *life) { return speft_merge(life->loaded, &error); }
static speft_status leave_bases(struct life *life) {
    return speft_leave_bases(life->scene.adapter, 0.2, &life->loaded, NULL, &error);
}
static speft_status unmerge_loaded(struct life *life) { return speft_unmerge(life->loaded, &error); }
static speft_status drop_loaded(struct life *life) {
    speft_destroy_adapter(life->loaded);
    life->loaded = NULL;
    return SPEFT_OK;
}

typedef speft_status (*const call_of_life)(struct life *);

static call_of_life by_salience[] = {
    bind_query,       bind_value,       bind_bias,       observe_query, observe_value, finish,
    announce,         observe_query,    observe_value,   finish,        select_now,    accumulate_query,
    accumulate_value, accumulate_bias,  clip,            step_now,      unmerge_now,   merge_now,
    accumulate_query, accumulate_value, accumulate_bias, step_now,
};

/* The second step's scalars drive some of the first's out. */
static call_of_life by_step[] = {
    bind_query, bind_value, bind_bias, select_now,
    accumulate_query, accumulate_value, accumulate_bias, reselect, clip, step_now,
    accumulate_query_tokens, accumulate_value_tokens, accumulate_bias, reselect, step_now,
    accumulate_query_tokens, accumulate_query, accumulate_value_tokens, reselect, step_now,
    unmerge_now, forward, backward, merge_now,
    save, load, bind_loaded, merge_loaded, drop_loaded,
    accumulate_query, accumulate_value, reselect, save_checkpoint, load_checkpoint, drop_loaded, step_now,
};

static call_of_life in_bases[] = {
    bind_query, bind_value, bind_bias, make_bases, observe_query_basis, observe_value_basis, fit_query, fit_value,
    bind_query_basis, bind_value_basis, select_now,
    accumulate_query, accumulate_value, accumulate_bias, reselect, clip, step_now,
    accumulate_query_tokens, accumulate_value_tokens, accumulate_bias, reselect, step_now,
    accumulate_query_tokens, accumulate_query, accumulate_value_tokens, reselect, step_now,
    forward, backward, leave_bases, bind_loaded, merge_loaded, unmerge_loaded, drop_loaded,
    merge_now, attach_now, unmerge_now, forward, backward, merge_now, unmerge_now, attach_now,
    save, load, bind_loaded, attach_loaded, merge_loaded, unmerge_loaded, drop_loaded,
    load, bind_loaded, merge_loaded, unmerge_loaded, drop_loaded,
    accumulate_query, accumulate_value, reselect, save_checkpoint, load_checkpoint, drop_loaded, step_now,
};

static call_of_life beside_codes[] = {
    bind_query, bind_value, bind_bias, announce, observe_query, observe_value, finish, select_now,
    accumulate_query_tokens, accumulate_value_tokens, accumulate_bias, clip, step_now,
    accumulate_query, accumulate_value, accumulate_bias, step_now, forward,
    merge_now, attach_now, unmerge_now, forward, merge_now, unmerge_now, attach_now,
    save, load, bind_loaded, attach_loaded, forward_each, merge_loaded, unmerge_loaded, drop_loaded,
    save_checkpoint, load_checkpoint, bind_loaded, attach_loaded, drop_loaded,
    accumulate_query, accumulate_value, accumulate_bias, step_now,
};

enum { MOST_CALLS = 64 };
_Static_assert(COUNT_OF(in_bases) <= MOST_CALLS, "the longest life needs a moment for each of its calls");

struct course {
    int32_t method;
    call_of_life *calls;
    int count, quantized;
};

static const struct course courses[] = {
    {SPEFT_SELECT_SNIP, by_salience, COUNT_OF(by_salience), 0},
    {SPEFT_SELECT_MEPROP, by_step, COUNT_OF(by_step), 0},
    {SPEFT_SELECT_SPARSEGRAD, in_bases, COUNT_OF(in_bases), 0},
    {SPEFT_SELECT_SNIP, beside_codes, COUNT_OF(beside_codes), 1},
};

/* What a failing call leaves alone beside the scene. */
struct moment {
    struct picture picture;
    float loaded_weights[SCENE_PARAMETERS][SCENE_SCALARS];
    float y[MANY_TOKENS * SCENE_SCALARS];
    struct codes codes, loaded_codes;
};

/* Before each call of a life with plenty of memory, and at its end. */
static struct moment moments[MOST_CALLS + 1];

static void start_life(struct life *life, const struct course *course, struct scarce *scarce) {
    memset(life, 0, sizeof *life);
    speft_schedule_options schedule;
    speft_schedule_options_init(&schedule, sizeof schedule);
    schedule.settled_limit = course->method == SPEFT_SELECT_SNIP ? 0 : 3;
    speft_selection_options selection = choose(course->method, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    selection.schedule = &schedule;
    life->scene = create_scene(create_scarce_context(scarce), &selection);
    memcpy(life->loaded_weights, life->scene.weights, sizeof life->loaded_weights);
    fill(life->x, COUNT_OF(life->x), 21);
    fill(life->dy, COUNT_OF(life->dy), 22);
    life->quantized = course->quantized;
    for (int i = 0; i < CODES; ++i) life->codes.codes[i] = (uint8_t)(37 * i + 5);
    life->codes.absmax[0] = 0.75f;
    life->loaded_codes = life->codes;
}

static void end_life(struct life *life) {
    speft_destroy_adapter(life->loaded);
    for (int i = 0; i < BASES; ++i) speft_destroy_basis(life->bases[i]);
    destroy_scene(&life->scene);
}

static void take_moment(const struct life *life, struct moment *moment) {
    take_picture(&life->scene, &moment->picture);
    memcpy(moment->loaded_weights, life->loaded_weights, sizeof moment->loaded_weights);
    memcpy(moment->y, life->y, sizeof moment->y);
    moment->codes = life->codes;
    moment->loaded_codes = life->loaded_codes;
}

static void check_moment(const struct life *life, const struct moment *moment, const char *call) {
    check_picture(&life->scene, &moment->picture, call, __FILE__, __LINE__);
    CHECK_BYTES(life->loaded_weights, moment->loaded_weights, sizeof moment->loaded_weights);
    CHECK_BYTES(life->y, moment->y, sizeof moment->y);
    CHECK_BYTES(&life->codes, &moment->codes, sizeof moment->codes);
    CHECK_BYTES(&life->loaded_codes, &moment->loaded_codes, sizeof moment->loaded_codes);
}

static void live_in_plenty(const struct course *course) {
    struct scarce plenty = {-1, 0, 0};
    static struct life life;
    start_life(&life, course, &plenty);
    for (int i = 0; i < course->count; ++i) {
        take_moment(&life, &moments[i]);
        CHECK_OK(course->calls[i](&life));
    }
    take_moment(&life, &moments[course->count]);
    end_life(&life);
    CHECK_EQUAL(plenty.blocks, 0);
}

/* Lives with memory for `served` allocations; the call in which it runs out is made again with plenty. Returns 0 when
 * it was enough. */
static int live_with(const struct course *course, int64_t served) {
    struct scarce scarce = {served, 0, 0};
    static struct life life;
    start_life(&life, course, &scarce);
    for (int i = 0; i < course->count; ++i) {
        const speft_status status = course->calls[i](&life);
        if (status == SPEFT_OK) continue;
        CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "allocate", status);
        CHECK_EQUAL(scarce.refused, 1);
        scarce.left = -1; /* never 0 again */
        char call[80];
        snprintf(call, sizeof call, "call %d of method %d, without memory,", i, course->method);
        check_moment(&life, &moments[i], call);
        CHECK_OK(course->calls[i](&life));
    }
    check_moment(&life, &moments[course->count], "a call without memory, made again,");
    end_life(&life);
    CHECK_EQUAL(scarce.blocks, 0);
    return scarce.refused > 0;
}

static void test_every_allocation_may_fail(void) {
    for (int64_t i = 0; i < COUNT_OF(courses); ++i) {
        live_in_plenty(&courses[i]);
        int64_t served = 0;
        while (live_with(&courses[i], served)) ++served;
        printf("     %d allocations\n", (int)served);
        CHECK(served > 0);
    }
}

/* ---- a basis ---- */

enum { BASIS_ROWS = 6, BASIS_COLUMNS = 4 };

struct fitted {
    float u[BASIS_COLUMNS * BASIS_COLUMNS], v[BASIS_ROWS * BASIS_ROWS];
};

/* As above; two gradients, and a fit after each. */
static int fit_with(int64_t served, struct fitted *fitted) {
    struct scarce scarce = {served, 0, 0};
    speft_context *context = create_scarce_context(&scarce);
    speft_basis_options options;
    speft_basis_options_init(&options, sizeof options);
    options.rows = BASIS_ROWS;
    options.columns = BASIS_COLUMNS;
    speft_basis *basis = NULL;
    CHECK_OK(speft_create_basis(context, &options, &basis, &error));
    for (int call = 0; call < 4; ++call) {
        float values[BASIS_ROWS * BASIS_COLUMNS];
        fill(values, BASIS_ROWS * BASIS_COLUMNS, (uint32_t)call);
        const speft_gradient gradient = dense_gradient(MATRIX(values, float32, BASIS_ROWS, BASIS_COLUMNS));
        for (;;) {
            const speft_status status = call % 2 ? speft_fit_basis(basis, NULL, &error)
                                                 : speft_observe_basis(basis, &gradient, &error);
            if (status == SPEFT_OK) break;
            CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "allocate", status);
            scarce.left = -1;
        }
    }
    speft_tensor u, v;
    CHECK_OK(speft_get_basis(basis, &u, &v, &error));
    memcpy(fitted->u, u.data, sizeof fitted->u);
    memcpy(fitted->v, v.data, sizeof fitted->v);
    speft_destroy_basis(basis);
    speft_destroy_context(context);
    CHECK_EQUAL(scarce.blocks, 0);
    return scarce.refused > 0;
}

static void test_every_allocation_of_a_basis_may_fail(void) {
    struct fitted in_plenty, in_need;
    CHECK(!fit_with(-1, &in_plenty));
    int64_t served = 0;
    while (fit_with(served, &in_need)) {
        CHECK_BYTES(&in_need, &in_plenty, sizeof in_plenty);
        ++served;
    }
    printf("     %d allocations\n", (int)served);
    CHECK(served > 0);
}

int main(void) {
    RUN(test_every_allocation_may_fail);
    RUN(test_every_allocation_of_a_basis_may_fail);
    return check_result();
}
