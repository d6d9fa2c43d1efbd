/* Memory that runs out at any allocation of an adapter's life: the call says so and changes nothing, and made again
 * it ends as if nothing had happened. */
#include "scene.h"

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
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.backend = "cpu";
    options.allocator = &allocator;
    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));
    return context;
}

/* ---- a life as a list of calls ---- */

static speft_status bind_one(struct scene *scene, int p) {
    scene->weight_views[p] = view(scene->weights[p], float32, scene_ndims[p], scene_shapes[p]);
    scene->gradient_views[p] = view(scene->gradients[p], float32, scene_ndims[p], scene_shapes[p]);
    const speft_weights weights = dense_weights(&scene->weight_views[p]);
    return speft_bind_weights(scene->adapter, p, &weights, &error);
}

static speft_status give_one(struct scene *scene, int p,
                             speft_status (*give)(speft_adapter *, int64_t, const speft_gradient *, speft_error **)) {
    const speft_gradient gradient = dense_gradient(&scene->gradient_views[p]);
    return give(scene->adapter, p, &gradient, &error);
}

static speft_status bind_query(struct scene *scene) { return bind_one(scene, QUERY); }
static speft_status bind_value(struct scene *scene) { return bind_one(scene, VALUE); }
static speft_status bind_bias(struct scene *scene) { return bind_one(scene, BIAS); }
static speft_status announce(struct scene *scene) { return speft_begin_observation(scene->adapter, 2, &error); }
static speft_status observe_query(struct scene *scene) { return give_one(scene, QUERY, speft_observe); }
static speft_status observe_value(struct scene *scene) { return give_one(scene, VALUE, speft_observe); }
static speft_status finish(struct scene *scene) { return speft_finish_observation(scene->adapter, 2, &error); }
static speft_status select_now(struct scene *scene) { return speft_select(scene->adapter, NULL, &error); }
static speft_status accumulate_query(struct scene *scene) { return give_one(scene, QUERY, speft_accumulate); }
static speft_status accumulate_value(struct scene *scene) { return give_one(scene, VALUE, speft_accumulate); }
static speft_status accumulate_bias(struct scene *scene) { return give_one(scene, BIAS, speft_accumulate); }
static speft_status clip(struct scene *scene) { return speft_clip_gradient(scene->adapter, 0.5, NULL, &error); }
static speft_status step_now(struct scene *scene) { return speft_step(scene->adapter, NULL, &error); }
static speft_status unmerge_now(struct scene *scene) { return speft_unmerge(scene->adapter, &error); }
static speft_status merge_now(struct scene *scene) { return speft_merge(scene->adapter, &error); }

static speft_status (*const life[])(struct scene *) = {
    bind_query,       bind_value,       bind_bias,       observe_query, observe_value, finish,
    announce,         observe_query,    observe_value,   finish,        select_now,    accumulate_query,
    accumulate_value, accumulate_bias,  clip,            step_now,      unmerge_now,   merge_now,
    accumulate_query, accumulate_value, accumulate_bias, step_now,
};

enum { CALLS = sizeof life / sizeof *life };

/* The scene before each call of a life with plenty of memory, and at its end. */
static struct picture course[CALLS + 1];

static struct scene create_scarce_scene(struct scarce *scarce) {
    const speft_selection_options selection = choose(SPEFT_SELECT_SNIP, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    return create_scene(create_scarce_context(scarce), &selection);
}

static void live_in_plenty(void) {
    struct scarce plenty = {-1, 0, 0};
    struct scene scene = create_scarce_scene(&plenty);
    for (int i = 0; i < CALLS; ++i) {
        take_picture(&scene, &course[i]);
        CHECK_OK(life[i](&scene));
    }
    take_picture(&scene, &course[CALLS]);
    destroy_scene(&scene);
    CHECK_EQUAL(plenty.blocks, 0);
}

/* Lives with memory for `served` allocations; the call in which it runs out is made again with plenty. Returns 0 when
 * it was enough. */
static int live_with(int64_t served) {
    struct scarce scarce = {served, 0, 0};
    struct scene scene = create_scarce_scene(&scarce);
    for (int i = 0; i < CALLS; ++i) {
        const speft_status status = life[i](&scene);
        if (status == SPEFT_OK) continue;
        CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "allocate", status);
        CHECK_EQUAL(scarce.refused, 1);
        scarce.left = -1; /* never 0 again */
        check_picture(&scene, &course[i], "a call without memory", __FILE__, __LINE__);
        CHECK_OK(life[i](&scene));
    }
    check_picture(&scene, &course[CALLS], "a call without memory, made again,", __FILE__, __LINE__);
    destroy_scene(&scene);
    CHECK_EQUAL(scarce.blocks, 0);
    return scarce.refused > 0;
}

static void test_every_allocation_may_fail(void) {
    live_in_plenty();
    int64_t served = 0;
    while (live_with(served)) ++served;
    printf("     %d allocations\n", (int)served);
    CHECK(served > 0);
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
