/* Files that are not what they should be, and paths that cannot be used: nothing is written, nothing is loaded. */
#include "scene.h"

static const char *const path = "bad_files.safetensors";

static void save_trained_scene(struct scene *scene) {
    start_trained_scene(scene);
    CHECK_OK(speft_save_adapter(scene->adapter, NULL, path, &error));
}

static void test_a_file_for_another_model(void) {
    struct scene trained, other;
    save_trained_scene(&trained);
    start_scene(&other);
    for (int i = 0; i < scene_sizes[VALUE]; ++i) other.weights[VALUE][i] += 1;
    speft_destroy_adapter(other.adapter);
    CHECK_OK(speft_load_adapter(other.context, NULL, path, &other.adapter, &error));
    CHECK_REFUSED(&other, SPEFT_INVALID_STATE, "query.weight", speft_merge(other.adapter, &error));
    bind_scene(&other);
    CHECK_REFUSED(&other, SPEFT_INVALID_ARGUMENT, "value.weight", speft_merge(other.adapter, &error));

    const int64_t transposed[] = {6, 4};
    const speft_tensor tensor = view(other.weights[QUERY], float32, 2, transposed);
    const speft_weights weights = dense_weights(&tensor);
    CHECK_REFUSED(&other, SPEFT_INVALID_ARGUMENT, "[4, 6]",
                  speft_bind_weights(other.adapter, QUERY, &weights, &error));

    fill(other.weights[VALUE], scene_sizes[VALUE], VALUE + 1);
    CHECK_OK(speft_merge(other.adapter, &error));
    CHECK_BYTES(other.weights, trained.weights, sizeof other.weights);
    CHECK_EQUAL(remove(path), 0);
    destroy_scene(&trained);
    destroy_scene(&other);
}

/* A new head comes with the file, whatever the fresh model's head holds. */
static void test_a_fresh_head_is_no_other_model(void) {
    struct scene trained, fresh;
    save_trained_scene(&trained);
    start_scene(&fresh);
    float head[5] = {9, 8, 7, 6, 5};
    memcpy(fresh.weights[BIAS], head, sizeof head);
    speft_destroy_adapter(fresh.adapter);
    CHECK_OK(speft_load_adapter(fresh.context, NULL, path, &fresh.adapter, &error));
    bind_scene(&fresh);
    CHECK_OK(speft_merge(fresh.adapter, &error));
    CHECK_BYTES(fresh.weights, trained.weights, sizeof fresh.weights);
    CHECK_OK(speft_unmerge(fresh.adapter, &error));
    CHECK_BYTES(fresh.weights[BIAS], head, sizeof head);
    CHECK_EQUAL(remove(path), 0);
    destroy_scene(&trained);
    destroy_scene(&fresh);
}

static int64_t read_file(char *bytes, int64_t capacity) {
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    const int64_t size = (int64_t)fread(bytes, 1, (size_t)capacity, file);
    fclose(file);
    return size;
}

static void write_file(const char *bytes, int64_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, (size_t)size, file) != (size_t)size || fclose(file)) abort();
}

static void test_damaged_files(void) {
    struct scene scene;
    save_trained_scene(&scene);
    static char bytes[1 << 16], damaged[1 << 16];
    const int64_t size = read_file(bytes, sizeof bytes);
    CHECK(size > 0 && size < (int64_t)sizeof bytes);
    speft_adapter *loaded = NULL;
    for (int64_t kept = 0; kept < size; ++kept) {
        write_file(bytes, kept);
        CHECK_FAILS(SPEFT_CORRUPT, path, speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    }
    memcpy(damaged, bytes, (size_t)size);
    damaged[size] = 0;
    write_file(damaged, size + 1);
    CHECK_FAILS(SPEFT_CORRUPT, path, speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    static const char foreign[] = "PK\003\004 this is quite another kind of file, of some length";
    write_file(foreign, sizeof foreign);
    CHECK_FAILS(SPEFT_CORRUPT, path, speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    static const char plain[] =
        "\x36\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}1234";
    write_file(plain, 8 + 0x36 + 4);
    CHECK_FAILS(SPEFT_CORRUPT, path, speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    CHECK(loaded == NULL);

    write_file(bytes, size);
    CHECK_OK(speft_load_adapter(scene.context, NULL, path, &loaded, &error));
    speft_destroy_adapter(loaded);
    CHECK_EQUAL(remove(path), 0);
    destroy_scene(&scene);
}

static void test_paths_that_cannot_be_used(void) {
    struct scene scene;
    start_trained_scene(&scene);
    speft_adapter *loaded = NULL;
    CHECK_REFUSED(&scene, SPEFT_IO, "no such folder",
                  speft_save_adapter(scene.adapter, NULL, "no such folder/file", &error));
    CHECK_REFUSED(&scene, SPEFT_IO, "''", speft_save_adapter(scene.adapter, NULL, "", &error));
    CHECK_REFUSED(&scene, SPEFT_IO, "'.'", speft_save_adapter(scene.adapter, NULL, ".", &error));
    CHECK_FAILS(SPEFT_IO, "no such file", speft_load_adapter(scene.context, NULL, "no such file", &loaded, &error));
    CHECK_FAILS(SPEFT_IO, "'.'", speft_load_adapter(scene.context, NULL, ".", &loaded, &error));
    CHECK_FAILS(SPEFT_IO, "''", speft_load_adapter(scene.context, NULL, "", &loaded, &error));
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.format = 2;
    CHECK_REFUSED(&scene, SPEFT_INVALID_ARGUMENT, "format",
                  speft_save_adapter(scene.adapter, &options, path, &error));
    CHECK(loaded == NULL);
    CHECK(!file_exists(path));
    destroy_scene(&scene);
}

int main(void) {
    RUN(test_a_file_for_another_model);
    RUN(test_a_fresh_head_is_no_other_model);
    RUN(test_damaged_files);
    RUN(test_paths_that_cannot_be_used);
    return check_result();
}
