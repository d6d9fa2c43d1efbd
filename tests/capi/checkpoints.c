/* Stopping and going on, bit for bit as if training had never stopped: each case trains twice, once straight through
 * and once over a checkpoint in another context, and compares all that there is, the bytes of a last checkpoint among
 * it. And the other ways in and out: writers and bytes in memory. */
#include <errno.h>

#include "scene.h"

static const char *const path = "checkpoints.safetensors";

/* ---- files in memory ---- */

struct bytes {
    char data[1 << 15];
    uint64_t size;
};

static int32_t append(void *user, const void *data, uint64_t count) {
    struct bytes *bytes = user;
    if (bytes->size + count > sizeof bytes->data) return ENOSPC;
    memcpy(bytes->data + bytes->size, data, (size_t)count);
    bytes->size += count;
    return 0;
}

typedef speft_status save_call(speft_adapter *, const speft_save_options *, const char *, speft_error **);
typedef speft_status load_call(speft_context *, const speft_load_options *, const char *, speft_adapter **,
                               speft_error **);

static speft_status try_to_write(save_call *save, speft_adapter *adapter, const speft_writer *writer) {
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.writer = writer;
    return save(adapter, &options, NULL, &error);
}

static void save_bytes(save_call *save, speft_adapter *adapter, struct bytes *bytes) {
    bytes->size = 0;
    const speft_writer writer = {sizeof writer, bytes, append};
    CHECK_OK(try_to_write(save, adapter, &writer));
}

static speft_status try_to_load(load_call *load, speft_context *context, const void *data, uint64_t size,
                                speft_adapter **adapter) {
    speft_load_options options;
    speft_load_options_init(&options, sizeof options);
    options.bytes = data;
    options.size = size;
    return load(context, &options, NULL, adapter, &error);
}

static speft_adapter *load_bytes(load_call *load, speft_context *context, const struct bytes *bytes) {
    speft_adapter *adapter = NULL;
    CHECK_OK(try_to_load(load, context, bytes->data, bytes->size, &adapter));
    return adapter;
}

/* ---- a training that can stop anywhere ---- */

enum { STEPS_BEFORE = 4, STEPS_AFTER = 3 };

struct setting {
    speft_dtype dtype;
    int32_t delta_type;
    int32_t optimizer;
    int32_t age;
    double momentum;
};

static const struct setting settings[] = {
    {{SPEFT_CODE_FLOAT, 32, 1}, SPEFT_DELTA_FLOAT32, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, 0},
    {{SPEFT_CODE_FLOAT, 32, 1}, SPEFT_DELTA_BFLOAT16, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_PER_WEIGHT, 0},
    {{SPEFT_CODE_FLOAT, 32, 1}, SPEFT_DELTA_FLOAT32, SPEFT_OPTIMIZER_SGD, SPEFT_AGE_COMMON, 0.9},
    {{SPEFT_CODE_BFLOAT, 16, 1}, SPEFT_DELTA_FLOAT32, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_PER_WEIGHT, 0},
    {{SPEFT_CODE_BFLOAT, 16, 1}, SPEFT_DELTA_BFLOAT16, SPEFT_OPTIMIZER_ADAMW, SPEFT_AGE_COMMON, 0},
    {{SPEFT_CODE_BFLOAT, 16, 1}, SPEFT_DELTA_BFLOAT16, SPEFT_OPTIMIZER_SGD, SPEFT_AGE_COMMON, 0.5},
    {{SPEFT_CODE_FLOAT, 16, 1}, SPEFT_DELTA_FLOAT32, SPEFT_OPTIMIZER_SGD, SPEFT_AGE_COMMON, 0},
};

struct model {
    uint32_t weights[SCENE_PARAMETERS][SCENE_SCALARS]; /* bits of any type */
};

static struct model make_model(speft_dtype dtype) {
    struct model model;
    memset(&model, 0, sizeof model);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        float values[SCENE_SCALARS];
        fill(values, scene_sizes[i], (uint32_t)i + 1);
        uint16_t *narrow = (uint16_t *)model.weights[i];
        if (dtype.bits == 32) memcpy(model.weights[i], values, sizeof values);
        else
            for (int j = 0; j < scene_sizes[i]; ++j)
                narrow[j] = encode_narrow(round_narrow(values[j], narrow_bfloat16),
                                          dtype.code == SPEFT_CODE_BFLOAT ? narrow_bfloat16 : narrow_float16);
    }
    return model;
}

static void bind_model(speft_adapter *adapter, struct model *model, speft_dtype dtype) {
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        const speft_tensor tensor = view(model->weights[i], dtype, scene_ndims[i], scene_shapes[i]);
        bind(adapter, i, &tensor);
    }
}

/* Another gradient for each number. */
static void accumulate_numbered(speft_adapter *adapter, int parameter, int number) {
    float gradient[SCENE_SCALARS];
    fill(gradient, scene_sizes[parameter], (uint32_t)(100 * number + parameter));
    const speft_tensor tensor = view(gradient, float32, scene_ndims[parameter], scene_shapes[parameter]);
    accumulate_dense(adapter, parameter, &tensor);
}

static void step(speft_adapter *adapter, const struct setting *setting) {
    speft_hyperparameters group;
    speft_hyperparameters_init(&group, sizeof group);
    group.learning_rate = 0.01;
    group.weight_decay = 0.1;
    group.decay = SPEFT_DECAY_TO_ZERO;
    group.momentum = setting->momentum;
    const speft_hyperparameters *const groups[] = {&group};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    options.allow_missing = 1;
    CHECK_OK(speft_step(adapter, &options, &error));
}

static speft_adapter *start_training(speft_context *context, const struct setting *setting, struct model *model) {
    const speft_selection_options selection = choose(SPEFT_SELECT_GRADIENT, SPEFT_SCOPE_GLOBAL, 0, SCENE_BUDGET);
    speft_optimizer_options optimizer;
    speft_optimizer_options_init(&optimizer, sizeof optimizer);
    optimizer.kind = setting->optimizer;
    optimizer.age = setting->age;
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    options.optimizer = &optimizer;
    options.delta_type = setting->delta_type;
    speft_parameter parameters[SCENE_PARAMETERS];
    const speft_parameter *pointers[SCENE_PARAMETERS];
    declare_scene(parameters);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        parameters[i].dtype = setting->dtype;
        pointers[i] = &parameters[i];
    }
    speft_adapter *adapter = NULL;
    CHECK_OK(speft_create_adapter(context, &options, pointers, SCENE_PARAMETERS, &adapter, &error));
    bind_model(adapter, model, setting->dtype);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        float gradient[SCENE_SCALARS];
        fill(gradient, scene_sizes[i], (uint32_t)i + 50);
        const speft_tensor tensor = view(gradient, float32, scene_ndims[i], scene_shapes[i]);
        observe_dense(adapter, i, &tensor);
    }
    CHECK_OK(speft_finish_observation(adapter, 1, &error));
    CHECK_OK(speft_select(adapter, NULL, &error));
    return adapter;
}

/* Stops in the middle of an accumulation: QUERY and BIAS have something pending, VALUE has received once, in the first
 * step, and is a step younger than the others from then on. */
static void train_to_the_stop(speft_adapter *adapter, const struct setting *setting) {
    for (int number = 0; number < STEPS_BEFORE; ++number) {
        for (int i = 0; i < SCENE_PARAMETERS; ++i)
            if (i != VALUE || number == 0) accumulate_numbered(adapter, i, number);
        step(adapter, setting);
    }
    accumulate_numbered(adapter, QUERY, 20);
    accumulate_numbered(adapter, BIAS, 20);
}

static void train_from_the_stop(speft_adapter *adapter, const struct setting *setting) {
    for (int number = 0; number < STEPS_AFTER; ++number) {
        for (int i = 0; i < SCENE_PARAMETERS; ++i) accumulate_numbered(adapter, i, 30 + number);
        step(adapter, setting);
    }
}

static void check_same_state(speft_adapter *actual, speft_adapter *expected) {
    const speft_adapter_state a = read_state(actual), b = read_state(expected);
    CHECK_BYTES(&a, &b, sizeof a);
    struct bytes *files = calloc(2, sizeof *files);
    save_bytes(speft_save_checkpoint, actual, &files[0]);
    save_bytes(speft_save_checkpoint, expected, &files[1]);
    CHECK_EQUAL((int64_t)files[0].size, (int64_t)files[1].size);
    CHECK_BYTES(files[0].data, files[1].data, files[1].size);
    free(files);
}

enum { MERGED, UNMERGED };

/* `saved`: the adapter's state when the checkpoint is taken; `found`: that of the weights when it is loaded. */
static void check_resume(const struct setting *setting, int saved, int found) {
    const struct model original = make_model(setting->dtype);
    struct model straight = original;
    speft_context *context = create_context();
    speft_adapter *adapter = start_training(context, setting, &straight);
    train_to_the_stop(adapter, setting);
    struct model resumed = found == MERGED ? straight : original;
    if (saved == UNMERGED) CHECK_OK(speft_unmerge(adapter, &error));
    struct bytes *file = calloc(1, sizeof *file);
    save_bytes(speft_save_checkpoint, adapter, file);
    CHECK_OK(speft_merge(adapter, &error));

    speft_context *fresh = create_context();
    speft_adapter *loaded = load_bytes(speft_load_checkpoint, fresh, file);
    free(file);
    CHECK(read_state(loaded).selected && !read_state(loaded).merged);
    bind_model(loaded, &resumed, setting->dtype);
    CHECK_OK(speft_merge(loaded, &error));
    CHECK_BYTES(&resumed, &straight, sizeof straight);
    check_same_state(loaded, adapter);

    train_from_the_stop(adapter, setting);
    train_from_the_stop(loaded, setting);
    CHECK(memcmp(&straight, &original, sizeof original) != 0);
    CHECK_BYTES(&resumed, &straight, sizeof straight);
    check_same_state(loaded, adapter);

    CHECK_OK(speft_unmerge(loaded, &error));
    CHECK_BYTES(&resumed, &original, sizeof original);
    speft_destroy_adapter(adapter);
    speft_destroy_adapter(loaded);
    speft_destroy_context(context);
    speft_destroy_context(fresh);
}

static void test_resuming_is_as_if_never_stopped(void) {
    for (int64_t i = 0; i < COUNT_OF(settings); ++i)
        for (int saved = MERGED; saved <= UNMERGED; ++saved)
            for (int found = MERGED; found <= UNMERGED; ++found) check_resume(&settings[i], saved, found);
}

static void test_a_checkpoint_before_the_first_step(void) {
    struct model model = make_model(float32), resumed = model;
    speft_context *context = create_context();
    speft_adapter *adapter = start_training(context, &settings[0], &model);
    struct bytes *file = calloc(1, sizeof *file);
    save_bytes(speft_save_checkpoint, adapter, file);
    speft_adapter *loaded = load_bytes(speft_load_checkpoint, context, file);
    free(file);
    bind_model(loaded, &resumed, float32);
    CHECK_OK(speft_merge(loaded, &error));
    train_to_the_stop(adapter, &settings[0]);
    train_to_the_stop(loaded, &settings[0]);
    check_same_state(loaded, adapter);
    speft_destroy_adapter(adapter);
    speft_destroy_adapter(loaded);
    speft_destroy_context(context);
}

/* A loaded adapter does not know the original bits before its first merge; its checkpoint does not either. */
static void test_a_checkpoint_of_an_adapter_that_was_only_loaded(void) {
    struct scene scene;
    start_trained_scene(&scene);
    struct bytes *file = calloc(1, sizeof *file);
    save_bytes(speft_save_adapter, scene.adapter, file);
    speft_adapter *loaded = load_bytes(speft_load_adapter, scene.context, file);
    save_bytes(speft_save_checkpoint, loaded, file);
    speft_adapter *again = load_bytes(speft_load_checkpoint, scene.context, file);
    free(file);
    check_same_state(again, loaded);
    CHECK_OK(speft_unmerge(scene.adapter, &error));
    for (int i = 0; i < SCENE_PARAMETERS; ++i) bind(again, i, &scene.weight_views[i]);
    CHECK_OK(speft_merge(again, &error));
    speft_destroy_adapter(again);
    speft_destroy_adapter(loaded);
    destroy_scene(&scene);
}

static void test_weights_in_neither_state(void) {
    struct scene scene;
    start_trained_scene(&scene);
    CHECK_OK(speft_save_checkpoint(scene.adapter, NULL, path, &error));
    speft_destroy_adapter(scene.adapter);
    CHECK_OK(speft_load_checkpoint(scene.context, NULL, path, &scene.adapter, &error));
    CHECK_EQUAL(remove(path), 0);
    bind_scene(&scene);
    for (int i = 0; i < scene_sizes[VALUE]; ++i) scene.weights[VALUE][i] += 1;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "value.weight", speft_merge(scene.adapter, &error));
    for (int i = 0; i < scene_sizes[VALUE]; ++i) scene.weights[VALUE][i] -= 1;
    CHECK_OK(speft_merge(scene.adapter, &error));
    destroy_scene(&scene);
}

static void test_checkpoints_and_adapters_in_place_of_each_other(void) {
    struct scene scene;
    start_trained_scene(&scene);
    struct bytes *file = calloc(1, sizeof *file);
    save_bytes(speft_save_adapter, scene.adapter, file);
    speft_adapter *loaded = NULL;
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "speft_load_adapter",
                try_to_load(speft_load_checkpoint, scene.context, file->data, file->size, &loaded));
    CHECK(loaded == NULL);

    struct bytes *adapter_alone = calloc(1, sizeof *adapter_alone);
    save_bytes(speft_save_checkpoint, scene.adapter, file);
    loaded = load_bytes(speft_load_adapter, scene.context, file);
    save_bytes(speft_save_adapter, loaded, file);
    save_bytes(speft_save_adapter, scene.adapter, adapter_alone);
    CHECK_EQUAL((int64_t)file->size, (int64_t)adapter_alone->size);
    CHECK_BYTES(file->data, adapter_alone->data, file->size);
    free(adapter_alone);
    free(file);
    speft_destroy_adapter(loaded);
    destroy_scene(&scene);
}

/* ---- compact ---- */

static void test_a_compact_file_rounds_the_deltas(void) {
    struct scene scene;
    start_trained_scene(&scene);
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.format = SPEFT_FORMAT_COMPACT;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "EXACT for a checkpoint",
                  speft_save_checkpoint(scene.adapter, &options, path, &error));
    CHECK(!file_exists(path));
    CHECK_OK(speft_save_adapter(scene.adapter, &options, path, &error));
    speft_adapter *loaded = NULL;
    CHECK_OK(speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    CHECK_EQUAL(remove(path), 0);
    for (int i = 0; i < SCENE_PARAMETERS; ++i) {
        int64_t mask[SCENE_SCALARS], loaded_mask[SCENE_SCALARS];
        const int64_t count = read_mask(scene.adapter, i, mask, SCENE_SCALARS);
        CHECK_EQUAL(read_mask(loaded, i, loaded_mask, SCENE_SCALARS), count);
        CHECK_BYTES(loaded_mask, mask, (size_t)count * sizeof *mask);
        const float *deltas = lend_deltas(scene.adapter, i), *rounded = lend_deltas(loaded, i);
        for (int64_t j = 0; j < count; ++j)
            CHECK(rounded[j] == (i == BIAS ? deltas[j] : (float)round_narrow(deltas[j], narrow_bfloat16)));
    }
    speft_destroy_adapter(loaded);
    destroy_scene(&scene);
}

/* ---- writers and bytes ---- */

static int32_t refuse_after(void *user, const void *bytes, uint64_t count) {
    (void)bytes, (void)count;
    return (*(int *)user)-- == 0 ? ENOSPC : 0;
}

static int32_t call_back_in(void *user, const void *bytes, uint64_t count) {
    (void)bytes, (void)count;
    struct scene *scene = user;
    CHECK_FAILS(SPEFT_BUSY, "", speft_save_adapter(scene->adapter, NULL, path, &error));
    return 0;
}

static void test_a_writer_gets_the_bytes_of_the_file(void) {
    struct scene scene;
    start_trained_scene(&scene);
    struct bytes *file = calloc(2, sizeof *file);
    save_call *const calls[] = {speft_save_adapter, speft_save_checkpoint};
    for (int i = 0; i < 2; ++i) {
        CHECK_OK(calls[i](scene.adapter, NULL, path, &error));
        FILE *stream = fopen(path, "rb");
        if (!stream) abort();
        file[0].size = fread(file[0].data, 1, sizeof file[0].data, stream);
        fclose(stream);
        save_bytes(calls[i], scene.adapter, &file[1]);
        CHECK_EQUAL((int64_t)file[1].size, (int64_t)file[0].size);
        CHECK_BYTES(file[1].data, file[0].data, file[0].size);
        CHECK_EQUAL(remove(path), 0);
    }
    free(file);
    destroy_scene(&scene);
}

static void test_writers_that_fail(void) {
    struct scene scene;
    start_trained_scene(&scene);
    for (int calls = 0; calls < 3; ++calls) {
        int left = calls;
        const speft_writer writer = {sizeof writer, &left, refuse_after};
        CHECK_EQUAL(try_to_write(speft_save_adapter, scene.adapter, &writer), SPEFT_IO);
        CHECK_EQUAL(speft_get_error_native_code(error), ENOSPC);
        CHECK(strstr(speft_get_error_message(error), "writer") != NULL);
        speft_destroy_error(error);
        error = NULL;
    }
    const speft_writer reentrant = {sizeof reentrant, &scene, call_back_in};
    CHECK_OK(try_to_write(speft_save_adapter, scene.adapter, &reentrant));
    CHECK(!file_exists(path));

    const speft_writer nothing = {sizeof nothing, NULL, NULL};
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "write",
                  try_to_write(speft_save_adapter, scene.adapter, &nothing));
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.writer = &reentrant;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "path",
                  speft_save_adapter(scene.adapter, &options, path, &error));
    CHECK(!file_exists(path));
    destroy_scene(&scene);
}

static void test_bytes_that_are_no_file(void) {
    struct scene scene;
    start_trained_scene(&scene);
    struct bytes *file = calloc(1, sizeof *file);
    save_bytes(speft_save_checkpoint, scene.adapter, file);
    speft_adapter *loaded = NULL;
    load_call *const calls[] = {speft_load_adapter, speft_load_checkpoint};
    for (int i = 0; i < 2; ++i) {
        for (uint64_t kept = 0; kept < file->size; kept += 97)
            CHECK_FAILS(SPEFT_CORRUPT, "bytes",
                        try_to_load(calls[i], scene.context, file->data, kept, &loaded));
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "bytes", try_to_load(calls[i], scene.context, NULL, 3, &loaded));
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "path", try_to_load(calls[i], scene.context, NULL, 0, &loaded));
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", try_to_load(calls[i], NULL, file->data, 9, &loaded));
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", try_to_load(calls[i], scene.context, file->data, 9, NULL));
        speft_load_options options;
        speft_load_options_init(&options, sizeof options);
        options.bytes = file->data;
        options.size = file->size;
        CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "path", calls[i](scene.context, &options, path, &loaded, &error));
    }
    CHECK(loaded == NULL);
    free(file);
    destroy_scene(&scene);
}

static void test_saving_too_early_or_nothing(void) {
    struct scene scene;
    start_observed_scene(&scene);
    CHECK_REFUSED(&scene, SPEFT_INVALID_STATE, "select",
                  speft_save_checkpoint(scene.adapter, NULL, path, &error));
    CHECK_OK(speft_select(scene.adapter, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "adapter", speft_save_checkpoint(NULL, NULL, path, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "path", speft_save_checkpoint(scene.adapter, NULL, NULL, &error));
    CHECK_FAILS(SPEFT_IO, "no such folder",
                speft_save_checkpoint(scene.adapter, NULL, "no such folder/file", &error));
    CHECK(!file_exists(path));
    destroy_scene(&scene);
}

int main(void) {
    RUN(test_resuming_is_as_if_never_stopped);
    RUN(test_a_checkpoint_before_the_first_step);
    RUN(test_a_checkpoint_of_an_adapter_that_was_only_loaded);
    RUN(test_weights_in_neither_state);
    RUN(test_checkpoints_and_adapters_in_place_of_each_other);
    RUN(test_a_compact_file_rounds_the_deltas);
    RUN(test_a_writer_gets_the_bytes_of_the_file);
    RUN(test_writers_that_fail);
    RUN(test_bytes_that_are_no_file);
    RUN(test_saving_too_early_or_nothing);
    return check_result();
}
