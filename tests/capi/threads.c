/* One call at a time in a context, from any thread, and destruction at any time. */
#include <pthread.h>

#include "scene.h"

static void run_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) || pthread_join(thread, NULL)) abort();
}

/* One adapter, several threads, one after another: a call belongs to no thread. */
static void *step_once(void *argument) {
    struct scene *scene = argument;
    accumulate_scene(scene);
    CHECK_OK(speft_step(scene->adapter, NULL, &error));
    return NULL;
}

static void test_calls_may_come_from_any_thread(void) {
    struct scene scene;
    start_selected_scene(&scene);
    for (int i = 0; i < 4; ++i) run_thread(step_once, &scene);
    CHECK_EQUAL(read_state(scene.adapter).steps, 4);
    destroy_scene(&scene);
}

/* ---- a call inside a call ---- */

/* What the progress callback does, and how often it was called. */
struct visitor {
    struct scene *scene;
    void *(*visit)(void *scene);
    int on_another_thread;
    int64_t reports;
    int32_t answer;
};

static int32_t report(void *user, int64_t done, int64_t total) {
    struct visitor *visitor = user;
    CHECK(0 <= done && done <= total);
    visitor->reports += 1;
    if (visitor->reports == 1 && visitor->visit) {
        if (visitor->on_another_thread)
            run_thread(visitor->visit, visitor->scene);
        else
            visitor->visit(visitor->scene);
    }
    return visitor->answer;
}

static speft_progress progress_of(struct visitor *visitor) {
    const speft_progress progress = {sizeof progress, visitor, report};
    return progress;
}

static void *call_everything(void *argument) {
    struct scene *scene = argument;
    speft_adapter *adapter = scene->adapter;
    const speft_gradient gradient = dense_gradient(&scene->gradient_views[QUERY]);
    const speft_weights weights = dense_weights(&scene->weight_views[QUERY]);
    const speft_parameter parameter = DECLARE_VECTOR("w", 4);
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    int64_t indices[SCENE_SCALARS] = {0}, count = -1;
    speft_tensor lent;
    speft_parameter info;
    speft_parameter_init(&info, sizeof info);
    speft_adapter_state state = {.struct_size = sizeof state};
    speft_adapter *another = NULL;
    double norm = 0;
    const char *name = NULL;
    CHECK_FAILS(SPEFT_BUSY, "", speft_select(adapter, NULL, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_step(adapter, NULL, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_accumulate(adapter, QUERY, &gradient, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_observe(adapter, QUERY, &gradient, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_begin_observation(adapter, 1, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_finish_observation(adapter, 1, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_clear_observations(adapter, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_bind_weights(adapter, QUERY, &weights, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_set_mask(adapter, QUERY, VECTOR(indices, int64, 1), &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_set_scores(adapter, QUERY, &scene->gradient_views[QUERY], &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_parameter(adapter, QUERY, &info, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_adapter_state(adapter, &state, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_selected_count(adapter, QUERY, &count, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_mask(adapter, QUERY, VECTOR(indices, int64, 1), &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_deltas(adapter, QUERY, &lent, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_get_gradient(adapter, QUERY, &lent, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_clear_gradient(adapter, -1, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_clip_gradient(adapter, 1, &norm, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_merge(adapter, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_unmerge(adapter, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_save_adapter(adapter, NULL, "busy.safetensors", &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_load_adapter(scene->context, NULL, "busy.safetensors", &another, &error));
    CHECK_FAILS(SPEFT_BUSY, "", try_to_create(scene->context, &selection, NULL, &parameter, 1, &another));
    CHECK_FAILS(SPEFT_BUSY, "", speft_synchronize(scene->context, &error));
    CHECK_FAILS(SPEFT_BUSY, "", speft_set_stream(scene->context, NULL, &error));
    CHECK_FAILS(SPEFT_BUSY, "",
                speft_get_implementation(scene->context, speft_get_operation_name(0), &name, &error));
    CHECK_FAILS(SPEFT_BUSY, "",
                speft_set_implementation(scene->context, speft_get_operation_name(0), NULL, &error));
    CHECK(another == NULL && count == -1);
    /* What cannot fail still answers. */
    CHECK_EQUAL(speft_count_parameters(adapter), SCENE_PARAMETERS);
    CHECK_TEXT(speft_get_context_backend(scene->context), "cpu");
    return NULL;
}

static void *use_another_context(void *argument) {
    (void)argument;
    struct scene scene;
    start_trained_scene(&scene);
    CHECK_OK(speft_step(scene.adapter, NULL, &error));
    destroy_scene(&scene);
    return NULL;
}

static void select_with_visitor(void *(*visit)(void *), int on_another_thread) {
    struct scene scene;
    start_observed_scene(&scene);
    struct visitor visitor = {&scene, visit, on_another_thread, 0, 0};
    const speft_progress progress = progress_of(&visitor);
    CHECK_OK(speft_select(scene.adapter, &progress, &error));
    CHECK(visitor.reports > 0);
    const speft_adapter_state state = read_state(scene.adapter);
    CHECK(state.selected == 1 && state.selected_scalars == SCENE_BUDGET);
    destroy_scene(&scene);
}

static void test_a_second_thread_finds_the_context_busy(void) { select_with_visitor(call_everything, 1); }

static void test_a_callback_finds_its_own_context_busy(void) { select_with_visitor(call_everything, 0); }

static void test_a_callback_may_use_another_context(void) {
    select_with_visitor(use_another_context, 0);
    select_with_visitor(use_another_context, 1);
}

static void test_saving_reports_and_is_busy_too(void) {
    struct scene scene;
    start_trained_scene(&scene);
    struct visitor visitor = {&scene, call_everything, 1, 0, 0};
    const speft_progress progress = progress_of(&visitor);
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.progress = &progress;
    CHECK_OK(speft_save_adapter(scene.adapter, &options, "threads.safetensors", &error));
    CHECK(visitor.reports > 0);
    CHECK_EQUAL(remove("threads.safetensors"), 0);
    destroy_scene(&scene);
}

/* ---- cancelling ---- */

static void test_a_cancelled_selection_can_be_made_again(void) {
    struct scene scene, reference;
    start_observed_scene(&scene);
    start_selected_scene(&reference);
    struct visitor visitor = {&scene, NULL, 0, 0, 1};
    const speft_progress progress = progress_of(&visitor);
    CHECK_REFUSED(&scene, SPEFT_CANCELLED, "cancel", speft_select(scene.adapter, &progress, &error));
    CHECK_EQUAL(visitor.reports, 1);

    visitor.answer = 0;
    CHECK_OK(speft_select(scene.adapter, &progress, &error));
    struct picture expected;
    take_picture(&reference, &expected);
    check_picture(&scene, &expected, "a cancelled selection", __FILE__, __LINE__);
    destroy_scene(&scene);
    destroy_scene(&reference);
}

static void test_a_cancelled_save_leaves_the_old_file(void) {
    static const char *const path = "cancelled.safetensors";
    struct scene scene;
    start_trained_scene(&scene);
    CHECK_OK(speft_save_adapter(scene.adapter, NULL, path, &error));
    CHECK_OK(speft_step(scene.adapter, NULL, &error));

    struct visitor visitor = {&scene, NULL, 0, 0, 1};
    const speft_progress progress = progress_of(&visitor);
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.progress = &progress;
    CHECK_REFUSED(&scene, SPEFT_CANCELLED, "cancel", speft_save_adapter(scene.adapter, &options, path, &error));

    speft_adapter *old = NULL;
    CHECK_OK(speft_load_adapter(scene.context, NULL, path, &old, &error));
    CHECK(lend_deltas(old, BIAS)[0] != lend_deltas(scene.adapter, BIAS)[0]);
    speft_destroy_adapter(old);
    CHECK_EQUAL(remove(path), 0);
    destroy_scene(&scene);
}

/* ---- destruction at any time ---- */

static void *destroy_everything(void *argument) {
    struct scene *scene = argument;
    destroy_scene(scene);
    return NULL;
}

/* The running call ends as if nothing had happened; that nothing leaks is the sanitizer's to see. */
static void destroy_while_selecting(int on_another_thread) {
    struct scene scene;
    start_observed_scene(&scene);
    float before[SCENE_PARAMETERS][SCENE_SCALARS];
    memcpy(before, scene.weights, sizeof before);
    struct visitor visitor = {&scene, destroy_everything, on_another_thread, 0, 0};
    const speft_progress progress = progress_of(&visitor);
    CHECK_OK(speft_select(scene.adapter, &progress, &error));
    CHECK(visitor.reports > 0);
    CHECK_BYTES(scene.weights, before, sizeof before);
}

static void test_an_adapter_destroyed_in_its_own_callback(void) { destroy_while_selecting(0); }

static void test_an_adapter_destroyed_by_another_thread(void) { destroy_while_selecting(1); }

static void test_destroying_on_another_thread(void) {
    struct scene scene;
    start_trained_scene(&scene);
    run_thread(destroy_everything, &scene);
}

int main(void) {
    RUN(test_calls_may_come_from_any_thread);
    RUN(test_a_second_thread_finds_the_context_busy);
    RUN(test_a_callback_finds_its_own_context_busy);
    RUN(test_a_callback_may_use_another_context);
    RUN(test_saving_reports_and_is_busy_too);
    RUN(test_a_cancelled_selection_can_be_made_again);
    RUN(test_a_cancelled_save_leaves_the_old_file);
    RUN(test_an_adapter_destroyed_in_its_own_callback);
    RUN(test_an_adapter_destroyed_by_another_thread);
    RUN(test_destroying_on_another_thread);
    return check_result();
}
